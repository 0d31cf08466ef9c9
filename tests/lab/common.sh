# Sourced by the scripts here: ports, processes in the background, and their end.  W is the folder of the service.

# A free port on 127.0.0.1, outside the range from which outgoing connections take theirs.
free_port() {
	/usr/bin/python3 - <<'PY'
import random, socket
while True:
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", random.randrange(10000, 32000)))
            print(s.getsockname()[1])
            break
        except OSError:
            pass
PY
}

# When a process was started, in ticks since boot: with its number it names a process for good.
started_at() {
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	set -- ${stat##*) }
	echo "${20}"
}

is_running() { # NAME
	local pid at
	[ -f "$W/$1.pid" ] && read -r pid at <"$W/$1.pid" && [ "$(started_at "$pid")" = "$at" ]
}

in_background() { # NAME COMMAND...
	local name=$1
	shift
	setsid "$@" </dev/null >"$W/$name.out" 2>&1 &
	echo "$! $(started_at $!)" >"$W/$name.pid"
}

ask_to_end() { # NAME
	local pid at
	if is_running "$1"; then
		read -r pid at <"$W/$1.pid"
		kill "$pid"
	fi
}

end() { # NAME
	local pid at
	if is_running "$1"; then
		ask_to_end "$1"
		read -r pid at <"$W/$1.pid"
		for _ in $(seq 100); do
			is_running "$1" || break
			sleep 0.1
		done
		if is_running "$1"; then kill -9 "$pid"; fi
	fi
	rm -f "$W/$1.pid"
}

# wait_for SECONDS NAME COMMAND...: until the command succeeds; not if the process of that name has ended.
wait_for() {
	local tries=$(($1 * 10)) name=$2
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		if ! is_running "$name" || [ $((tries -= 1)) -eq 0 ]; then
			echo "$name did not come up:" >&2
			tail -n 20 "$W/$name.out" >&2
			return 1
		fi
		sleep 0.1
	done
}

listens() { # PORT
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

usage() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}
