#!/usr/bin/python3 -B
"""What of systemd-logind matters to who wants to be told before the computer sleeps, on the bus in DBUS_SYSTEM_BUS_ADDRESS.

Says "ready", and then a line for each lock that is taken or let go; each line that it reads is a signal: "sleep" or "wake".
"""
import os
import sys

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

MANAGER = "org.freedesktop.login1.Manager"


class Manager(dbus.service.Object):
    @dbus.service.method(MANAGER, in_signature="ssss", out_signature="h")
    def Inhibit(self, what, who, why, mode):  # pylint: disable=invalid-name
        ours, theirs = os.pipe()
        GLib.io_add_watch(ours, GLib.PRIORITY_DEFAULT, GLib.IO_HUP, self.released, what)
        fd = dbus.types.UnixFd(theirs)
        os.close(theirs)
        print("locked", what, mode, who, bool(why), flush=True)
        return fd

    @staticmethod
    def released(fd, _, what):
        os.close(fd)
        print("released", what, flush=True)
        return False

    @dbus.service.signal(MANAGER, signature="b")
    def PrepareForSleep(self, begins):  # pylint: disable=invalid-name
        pass


def main():
    dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
    bus = dbus.SystemBus()
    name = dbus.service.BusName("org.freedesktop.login1", bus)
    manager = Manager(bus, "/org/freedesktop/login1")
    loop = GLib.MainLoop()

    def hear(*_):
        words = os.read(sys.stdin.fileno(), 4096).decode().split()  # several may have come at once
        for word in words:
            manager.PrepareForSleep(word == "sleep")
        if not words:
            loop.quit()
        return bool(words)

    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, hear)
    print("ready", name.get_name(), flush=True)
    loop.run()


main()
