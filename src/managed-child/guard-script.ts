/**
 * What the guard runs: a POSIX shell program of built-ins only, until its standard input ends because its owner is gone,
 * or a lease expires.
 *
 * Its arguments are a Node to run the undertaker by ('' where there is none), the tag of the owner's children, what the paths
 * of their cgroups begin with ('' where there are none), and lines to begin with, so that a guard which follows another
 * knows what that knew from its first instant on; `HOLDFAST_PROGRAM` is the undertaker's text. A group is
 * `PGID:START:GRACE_MS:SIGNAL:SEQUENCE`: START is the start time of its leader in clock ticks, 0 where it is unknown; SIGNAL
 * is a number, since shells know few names.
 *
 * Lines: `?` tells that a child is about to be started, `+ GROUP` adds it, `- PGID` forgets it; `l PGID MS AT` lets its lease
 * end in so long, instead of what was told before (AT is for who takes long to read it); `L PGID` drops it. It answers nothing: whom it told would have to listen.
 */
export const GUARD_SCRIPT = `
trap '' INT HUP QUIT TERM PIPE TSTP TTIN TTOU USR1 USR2
unset HOLDFAST_GUARD
node=$1 tag=$2 cgroups=$3
shift 3
is_starting=

# A group is in group_PGID, which is unset once it is forgotten: to cut one out of a long text takes time that grows with its square.
# The numbers are in "order", some twice or forgotten, until "gather" makes it new.
order= added=0 enough=1000
add() {
  eval "group_\${1%%:*}=\\$1"
  order="$order \${1%%:*}"
  added=$((added + 1))
  [ $added -lt $enough ] && return
  gather
  order= added=0
  for group in $groups; do eval "group_\${group%%:*}=\\$group"; order="$order \${group%%:*}"; added=$((added + 1)); done
  enough=$((added * 2 + 1000))
}

forget() { unset "group_$1"; }

gather() {
  groups=
  for pgid in $order; do
    eval "group=\\\${group_$pgid:-}"
    forget "$pgid"
    groups="$groups\${group:+$group }"
  done
}

# Whether the group is still the one that was added. Its number stays reserved while it has members, its leader's stat
# may be gone before; a leader of another start time is a stranger.
is_ours() {
  [ "$2" = 0 ] && return 0
  read_stat "$1" || return 0
  set -- "$2" $stat
  [ "$1" = "\${21}" ]
}

# The fields behind the name, in "stat". The name may have brackets too, but to look for the last one at once (##) takes a
# shell a time that grows with the square of the length.
read_stat() {
  stat=
  [ -r "/proc/$1/stat" ] || return 1
  while read -r line; do stat="$stat$line"; done < "/proc/$1/stat"
  [ -n "$stat" ] || return 1
  while :; do
    case $stat in *') '*) stat=\${stat#*) } ;; *) return 0 ;; esac
  done
}

# Some shells need it before a negative number, others (busybox 1.35) take it for one.
kill -s 0 -- $$ && dashes=-- || dashes=

# 1 is init and 0 this very group: a broken line must never reach them.
signal() {
  case $2 in ''|*[!0-9]*|0|1) return 1 ;; esac
  kill -s "$1" $dashes "-$2"
}

# $1 is a cgroup; those that a guarded process made in it are below.
kill_cgroup() { if [ -n "$cgroups" ] && [ -e "$1/cgroup.kill" ]; then echo 1 > "$1/cgroup.kill"; fi; }

remove_cgroup() {
  for below in "$1"/*/; do [ -d "$below" ] && remove_cgroup "\${below%/}"; done
  rmdir "$1"
}

kill_group() {
  is_ours "$1" "$2" && signal KILL "$1"
  kill_cgroup "$cgroups$5"
}

# Ends what left its group. To be run in the background, which it becomes: who ends that ends Node.
undertake() { [ -n "$node" ] && exec "$node" -e 'eval(process.env.HOLDFAST_PROGRAM)' -- "$tag" "$cgroups" all "$@"; }

# As "wait" for the undertaker, which takes 10 s at most after the longest grace, in so many milliseconds; but where Node gets
# only some of the threads that it starts with it hangs.
await() {
  read_clock
  until=$((clock + $1 / 10 + 1200))
  while read_clock && [ $clock -lt $until ] && read_stat "$burial" && [ "\${stat%% *}" != Z ]; do sleep 0.02 || sleep 1; done
  [ $clock -lt $until ] || ! is_child "$burial" || kill -s KILL "$burial"
  wait "$burial"
}

# One look of the shell for what left its group; of one child only if $1 is its number. Fails if it found nothing.
look() {
  above='0 1'
  pid=$$
  while read_stat "$pid"; do above="$above $pid"; set -- "$1" $stat; pid=$3; done
  found=
  for environ in $(grep -slzx "$tag=\${1:-[0-9]*};" /proc/[0-9]*/environ); do
    pid=\${environ#/proc/}
    pid=\${pid%/environ}
    is_foreign "$pid" || { kill -s KILL "$pid" && found=yes; }
  done
  [ -n "$found" ]
}

# The same as the undertaker's where Node can't be run: until nothing is found for a while.
search() {
  clean=0
  pass=0
  while [ $clean -lt 25 ] && [ $pass -lt 500 ]; do
    clean=$((clean + 1))
    pass=$((pass + 1))
    look "$1" && clean=0
  done
}

# Whether a stranger started it with a copy of the tag: its parent lives, has another environment, and adopts nobody.
is_foreign() {
  read_stat "$1" || return 1
  set -- $stat
  case " $above " in *" $2 "*) return 1 ;; esac
  grep -sqz . "/proc/$2/environ" || return 1
  ! grep -sqzx "$tag=[0-9]*;" "/proc/$2/environ" \
    && ! grep -sqx 'NSpid:.*[^0-9]1' "/proc/$2/status" && ! grep -sqx systemd "/proc/$2/comm"
}

# What has ended may have been reaped, and its number may be a stranger's.
is_child() {
  [ -r /proc/self/stat ] || return 0
  read_stat "$1" || return 1
  set -- $stat
  [ "$2" = $$ ]
}

# The lease timer of a group is a subshell that sleeps; its pid is in timer_PGID. The nap is killed with it. By ALRM, which
# is not ignored here: what is, is ignored in the subshell until it has set its trap, and lost if it comes before.
drop_lease() {
  eval "timer=\\\${timer_$1:-}"
  unset "timer_$1"
  [ -n "$timer" ] && is_child "$timer" && kill -s ALRM "$timer"
}

# When a timer is dropped it ends what it started. While it starts something, whose pid it does not know yet, it only notes
# that it is to end ("defer"), and sees to it right after ("heed").
cancel='[ -z "$nap" ] || { kill -s KILL "$nap"; wait "$nap"; }; exit'
defer() { trap 'is_dropped=yes' ALRM; }
heed() {
  trap "$cancel" ALRM
  [ -z "$is_dropped" ] || eval "$cancel"
}

# Milliseconds, in the background, so that a signal is seen; where there is no sleep there is no lease.
doze() {
  defer
  sleep "$(($1 / 1000)).$(printf %03d $(($1 % 1000)))" & nap=$!
  heed
  wait "$nap"
  case $? in
    # This sleep may not know fractions.
    1) defer; sleep $(($1 / 1000)) & nap=$!; heed; wait "$nap" ;;
    126|127) exit ;;
  esac
  nap=
}

# Where there is Node the lease keeper does it, and this comes a little later, should that be gone: many shells that wake at the
# same time would be in its way. Another guard may have the lease by now, if this one was killed; but if the owner is dead too
# nobody has.
expire() {
  nap= is_dropped=
  eval "group=\\$group_$1"
  doze $(($2 + \${node:+10} + 0))
  trap '' ALRM
  kill -s 0 $$ || ! kill -s 0 $PPID || exit
  IFS=' :'
  kill_group $group
  unset IFS
  [ -n "$node" ] || search "\${group##*:}"
}

# Hundredths of a second since the boot, in "clock"; it stands still where the system does not tell.
clock=0
read_clock() {
  read -r up idle < /proc/uptime || return 1
  clock=$((\${up%.*} * 100 + 1\${up#*.} - 100))
}

# A shell that can't fork (the limit of processes is reached, maybe by the very tree) ends at once: first what needs no other
# process, and when that has made room the rest.
last_resort() {
  set -- $groups
  IFS=' :'
  for group in "$@"; do kill_group $group; done
  unset IFS
  read_clock && begin=$clock || return
  while read_clock && [ $((clock - begin)) -lt 50 ]; do :; done
  undertake & burial=$!
  await 0 || search ''
}

obey() {
  case $1 in
    \\?) is_starting=yes ;;
    +) add "$2"; is_starting= ;;
    -) forget "$2"; drop_lease "$2" ;;
    l) drop_lease "$2"; expire "$2" "$3" & eval "timer_$2=$!" ;;
    L) drop_lease "$2" ;;
  esac
}

for line in "$@"; do obey $line; done
while read -r verb group time at; do obey "$verb" "$group" "$time"; done

# Nothing is left where all were forgotten, unless one was being started when the owner was killed.
gather
[ -z "$groups" ] && [ -z "$is_starting" ] && exit

trap 'unset IFS; last_resort' EXIT
IFS=' :'
set -- $groups
left= longest=0
while [ $# -ge 5 ]; do
  [ "$3" -le $longest ] || longest=$3
  if is_ours "$1" "$2" && [ "$3" != 0 ]; then
    signal "$4" "$1"
    signal CONT "$1"
    left="$left $1:$2:$3:$4:$5"
  else
    kill_group "$1" "$2" "$3" "$4" "$5"
  fi
  shift 5
done
unset IFS
undertake $groups &
burial=$!
# What has no grace does not wait for Node, which takes a while to start.
[ $longest -gt 0 ] || look ''

IFS=' :'
read_clock && begin=$clock || begin=
elapsed=0
while [ -n "$left" ]; do
  if sleep 0.02; then elapsed=$((elapsed + 20)); else sleep 1; elapsed=$((elapsed + 1000)); fi
  # Checking many groups takes time too, so the naps alone would count too little.
  [ -n "$begin" ] && read_clock && elapsed=$(((clock - begin) * 10))
  set -- $left
  left=
  while [ $# -ge 5 ]; do
    if is_ours "$1" "$2"; then
      if [ "$elapsed" -ge "$3" ]; then
        kill_group "$1" "$2" "$3" "$4" "$5"
      elif signal 0 "$1"; then
        left="$left $1:$2:$3:$4:$5"
      fi
    fi
    shift 5
  done
done
unset IFS
rest=$((longest - elapsed))
[ $rest -gt 0 ] || rest=0
await $rest || search ''
trap - EXIT
IFS=' :'
set -- $groups
while [ $# -ge 5 ]; do drop_lease "$1"; shift 5; done
if [ -n "$cgroups" ]; then
  for cgroup in "$cgroups"*; do
    tries=0
    while kill_cgroup "$cgroup"; [ -d "$cgroup" ] && ! remove_cgroup "$cgroup" && [ $tries -lt 50 ]; do
      tries=$((tries + 1))
      sleep 0.02 || sleep 1
    done
  done
fi
`;
