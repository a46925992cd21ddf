# Sourced by the scripts beside it: one line before and after each step, with its time.

started=$SECONDS

# step NAME COMMAND...: runs it; where it fails, says which step and ends the script.
step() {
  local name=$1 from=$SECONDS code=0
  shift
  printf '\n== %s\n' "$name"
  "$@" </dev/null || code=$?
  if ((code)); then
    printf '== %s: FAILED after %d s (exit %d): %s\n' "$name" $((SECONDS - from)) "$code" "$*" >&2
    exit "$code"
  fi
  printf '== %s: ok, %d s\n' "$name" $((SECONDS - from))
}

finish() {
  printf '\n== %s: all green, %d s\n' "$1" $((SECONDS - started))
}
