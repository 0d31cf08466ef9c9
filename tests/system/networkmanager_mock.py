#!/usr/bin/python3 -B
"""What of NetworkManager matters to who wants to know whether the network is metered, on the bus in DBUS_SYSTEM_BUS_ADDRESS.

Says "ready", and "asked" each time that it is; the argument, and each line that it reads, is the property from then on.
"""
import os
import sys

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

NAME = "org.freedesktop.NetworkManager"


class NetworkManager(dbus.service.Object):
    metered = dbus.UInt32(sys.argv[1])

    @dbus.service.method(dbus.PROPERTIES_IFACE, in_signature="ss", out_signature="v")
    def Get(self, interface, name):  # pylint: disable=invalid-name
        assert (interface, name) == (NAME, "Metered")
        print("asked", flush=True)
        return self.metered

    @dbus.service.signal(dbus.PROPERTIES_IFACE, signature="sa{sv}as")
    def PropertiesChanged(self, interface, changed, invalidated):  # pylint: disable=invalid-name
        pass


def main():
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    bus = dbus.SystemBus()
    manager = NetworkManager(bus, "/org/freedesktop/NetworkManager")
    name = dbus.service.BusName(NAME, bus)
    loop = GLib.MainLoop()

    def hear(*_):
        words = os.read(sys.stdin.fileno(), 4096).decode().split()  # several may have come at once
        for word in words:
            manager.metered = dbus.UInt32(word)
            manager.PropertiesChanged(NAME, {"Connectivity": dbus.UInt32(4)}, [])
            manager.PropertiesChanged(NAME, {"Metered": manager.metered, "State": dbus.UInt32(70)}, [])
        if not words:
            loop.quit()
        return bool(words)

    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, hear)
    print("ready", name.get_name(), flush=True)
    loop.run()


main()
