/**
 * What the guard runs: a POSIX shell program of built-ins only, until its standard input ends because its owner is gone.
 *
 * A process group is `PGID:START:GRACE_MS:SIGNAL`: START is the start time of its leader in clock ticks, 0 where it is
 * unknown; SIGNAL is a number, since shells know few names. Its arguments are the groups there are, so that a guard
 * which follows another knows them from its first instant on; lines `+ GROUP` add one, `- PGID` forgets it.
 */
export const GUARD_SCRIPT = `
trap '' INT HUP QUIT TERM PIPE TSTP TTIN TTOU USR1 USR2
groups=' '

forget() {
  case $groups in
    *" $1:"*) rest=\${groups#*" $1:"}; groups="\${groups%%" $1:"*} \${rest#* }" ;;
  esac
}

# Whether the group is still the one that was added. Its number stays reserved while it has members, its leader's stat
# may be gone before; a leader of another start time is a stranger.
is_ours() {
  [ "$2" = 0 ] && return 0
  stat=
  [ -r "/proc/$1/stat" ] || return 0
  while read -r line; do stat="$stat$line"; done < "/proc/$1/stat"
  [ -n "$stat" ] || return 0
  set -- "$2" \${stat##*) }
  [ "$1" = "\${21}" ]
}

# 1 is init and 0 this very group: a broken line must never reach them.
signal() {
  case $2 in ''|*[!0-9]*|0|1) return 1 ;; esac
  kill -s "$1" -- "-$2"
}

for known in "$@"; do groups="$groups$known "; done

while read -r verb group; do
  case $verb in
    +) groups="$groups$group " ;;
    -) forget "$group" ;;
  esac
done

IFS=' :'
set -- $groups
left=
while [ $# -ge 4 ]; do
  if is_ours "$1" "$2"; then
    if [ "$3" = 0 ]; then
      signal KILL "$1"
    else
      signal "$4" "$1"
      signal CONT "$1"
      left="$left $1:$2:$3"
    fi
  fi
  shift 4
done

# Hundredths of a second since the boot, in "clock"; it stands still where the system does not tell.
clock=0
read_clock() {
  read -r up idle < /proc/uptime || return 1
  clock=$((\${up%.*} * 100 + 1\${up#*.} - 100))
}

read_clock && begin=$clock || begin=
elapsed=0
while [ -n "$left" ]; do
  if sleep 0.02; then elapsed=$((elapsed + 20)); else sleep 1; elapsed=$((elapsed + 1000)); fi
  # Checking many groups takes time too, so the naps alone would count too little.
  [ -n "$begin" ] && read_clock && elapsed=$(((clock - begin) * 10))
  set -- $left
  left=
  while [ $# -ge 3 ]; do
    if is_ours "$1" "$2"; then
      if [ "$elapsed" -ge "$3" ]; then signal KILL "$1"; elif signal 0 "$1"; then left="$left $1:$2:$3"; fi
    fi
    shift 3
  done
done
`;
