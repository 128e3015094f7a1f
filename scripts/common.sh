# What the scripts share: stages with their time, errors that say how to go on, versions and paths. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/build/logs
build=$root/build/latest
service=$build/mindie-service
model=$root/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

# Compilers at a time: one per core, with 1.5 GiB of free memory each.
jobs=${PHX_JOBS:-$(awk -v cores="$(nproc)" '/MemAvailable/ {n = int($2 / 1572864)} END {print n < 1 ? 1 : n < cores ? n : cores}' /proc/meminfo)}

die() {
  printf '\n%s\n' "$*" >&2
  exit 1
}

# A whole number of seconds since $1 (a value of $SECONDS), as "83 s".
took() { printf '%d s' $((SECONDS - $1)); }

# Prints the comment at the top of the calling script (from its second line on) and ends.
usage() {
  sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"
  exit "${1:-0}"
}

# Stages. The script sets `stages`, the number of them, and calls `stage LABEL COMMAND...` for each: the command's output
# goes to a file under build/logs, whose end is shown if it fails. On a terminal the build's progress is shown meanwhile.
stage_number=0
stage_pid=
stage() {
  local label=$1 start=$SECONDS log
  shift
  stage_number=$((stage_number + 1))
  mkdir -p "$logs"
  log=$logs/$(basename "$0")-$stage_number.log
  local head="[$stage_number/$stages] $label ..."
  printf '%s' "$head"
  # A process group of its own, so that Ctrl-C ends all of it.
  set -m
  ("$@") >"$log" 2>&1 </dev/null &
  stage_pid=$!
  set +m
  if [ -t 1 ]; then
    local progress
    while kill -0 "$stage_pid" 2>/dev/null; do
      progress=$(tail -c 400 "$log" 2>/dev/null | tr '\r' '\n' | grep -oE '^\[[0-9]+/[0-9]+\]' | tail -n 1 || true)
      printf '\r%s %s \033[K' "$head" "$progress"
      sleep 0.5
    done
    printf '\r%s' "$head"
  fi
  if wait "$stage_pid"; then
    stage_pid=
    printf ' %s\n' "$(took "$start")"
    return 0
  fi
  stage_pid=
  printf ' failed after %s\n\n' "$(took "$start")"
  tail -n "${stage_tail:-40}" "$log"
  printf '\nThe whole output: %s\n' "$log"
  exit 1
}

end_stage() { [ -z "$stage_pid" ] || kill -TERM -- "-$stage_pid" 2>/dev/null || true; }
trap end_stage EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# version_at_least HAVE WANT
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust_wanted=1.87
# The newest cargo that this machine has, as "<version> <cargo> <rustc>"; nothing if none is new enough. rustup's cargo and
# the distribution's versioned ones (cargo-1.89) count as well as the one on PATH.
find_rust() {
  local cargo rustc version
  for cargo in cargo "$HOME/.cargo/bin/cargo" $(compgen -c cargo-1. | sort -ruV); do
    cargo=$(command -v "$cargo") || continue
    rustc=$(dirname "$cargo")/$(basename "$cargo" | sed 's/^cargo/rustc/')
    [ -x "$rustc" ] || continue
    version=$("$rustc" --version 2>/dev/null | awk '{print $2}') || continue
    if [ -n "$version" ] && version_at_least "$version" "$rust_wanted"; then
      echo "$version $cargo $rustc"
      return 0
    fi
  done
  return 1
}

# build_in FOLDER [TARGET...] [-- CMAKE ARGUMENT...]: configures FOLDER if it is new or there are arguments, and builds the
# targets (all without).
build_in() {
  local into=$1 found cargo rustc targets=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    targets+=(--target "$1")
    shift
  done
  [ $# = 0 ] || shift
  found=$(find_rust) || die "Rust $rust_wanted or newer is missing. This installs it: scripts/install_deps"
  read -r _ cargo rustc <<<"$found"
  export RUSTC=$rustc
  if [ ! -f "$into/build.ninja" ] || [ $# -gt 0 ]; then
    cmake -S "$root" -B "$into" -G Ninja -DPHX_CARGO="$cargo" -DCMAKE_BUILD_TYPE=Release "$@"
  fi
  cmake --build "$into" --parallel "$jobs" "${targets[@]}"
}
