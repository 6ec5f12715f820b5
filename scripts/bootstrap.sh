# shellcheck shell=bash
# Makes .venv from the hashed lock; sourced by scripts/demo and scripts/test. No root, no index host named here.
#
#   brainstem_bootstrap ROOT run|dev      afterwards ROOT/.venv/bin/python works; exits 2 where the machine lacks something
#
# Nothing to do costs no process beyond two hashes: a stamp in .venv names lock, project file, interpreter and place.

brainstem_bootstrap() {
  local root=$1 kind=$2 venv="$1/.venv" lock stamp want
  [ -e "$venv/.stamp-dev" ] && kind=dev # a developer's environment has everything; it stays one
  lock="$root/requirements.lock"
  [ "$kind" = dev ] && lock="$root/requirements-dev.lock"
  stamp="$venv/.stamp-$kind"
  want=$(_bs_want "$root" "$lock" "$venv")
  if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
    return 0
  fi
  if command -v flock >/dev/null 2>&1; then # two at once: the second waits and then finds it done
    exec 8>"$root/.venv.lock"
    flock 8
    if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
      exec 8>&-
      return 0
    fi
  fi
  _bs_make "$root" "$lock" "$venv" "$kind"
  _bs_want "$root" "$lock" "$venv" >"$stamp"
  [ -e "$root/.venv.lock" ] && exec 8>&-
  return 0
}

# What the stamp must say: hashes of lock and project file, the interpreter behind the environment, where it stands.
_bs_want() {
  sha256sum <"$2"
  sha256sum <"$1/pyproject.toml"
  readlink -f "$3/bin/python" || echo none
  echo "$3"
}

_bs_say() { printf 'brainstem: %s\n' "$*" >&2; }

_bs_fail() {
  local line
  for line in "$@"; do _bs_say "$line"; done
  exit 2
}

_bs_make() {
  local root=$1 lock=$2 venv=$3 kind=$4 python uv count started=$SECONDS
  python=$(_bs_python) || _bs_fail "needs Python 3.11 or later, and there is none on the PATH." \
    "Install one package: python3 (Debian 12, Ubuntu 24.04 or later), or python3.11 on older systems; then run this again."
  count=$(grep -c '^[A-Za-z0-9].*==' "$lock")
  local what="first run: making .venv"
  [ -x "$venv/bin/python" ] && what="lock, project or place have changed: bringing .venv up to date"
  _bs_say "$what with Python $("$python" -c 'import platform; print(platform.python_version())')"
  _bs_say "installing $count pinned packages from ${lock##*/} (hashes checked), and brainstem itself; about 150 MB"
  rm -f "$venv"/.stamp-*
  if uv=$(_bs_uv "$root" "$python"); then
    export UV_PYTHON_DOWNLOADS=never
    if [ ! -x "$venv/bin/python" ] || [ ! -e "$venv/pyvenv.cfg" ]; then
      "$uv" venv --quiet --clear --python "$python" "$venv" || _bs_fail "uv could not make $venv (its reason is above)."
    fi
    "$uv" pip sync --quiet --python "$venv/bin/python" --require-hashes "$lock" &&
      "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable "$root" ||
      _bs_fail "uv could not install the pinned packages (its reason is above)." \
        "Check the network or the package index this machine is set up for, then run this again: it goes on from here."
  else
    _bs_with_pip "$root" "$lock" "$venv" "$python"
  fi
  _bs_say "environment ready after $((SECONDS - started)) s"
}

_bs_with_pip() {
  local root=$1 lock=$2 venv=$3 python=$4
  if [ ! -x "$venv/bin/pip" ]; then
    "$python" -m venv --clear "$venv" >/dev/null 2>&1 || _bs_no_installer "$python"
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock" &&
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e "$root" ||
    _bs_fail "pip could not install the pinned packages (its reason is above)." \
      "Check the network or the package index this machine is set up for, then run this again: it goes on from here."
}

# The one package that brings both venv and pip: for the system's own Python, or for the version found.
_bs_no_installer() {
  local version package=python3-venv
  version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  [ "$(command -v python3)" ] && [ "$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ] ||
    package="python$version-venv"
  rm -rf "$root/.venv"
  _bs_fail "Python $version has neither uv, pip nor venv, so no environment can be made." \
    "Install one package: $package   (Debian, Ubuntu: sudo apt install $package), then run this again."
}

# Full path of a Python >= 3.11; $BRAINSTEM_PYTHON first. Version managers' shims are asked, not trusted.
_bs_python() {
  local name
  if [ -n "${BRAINSTEM_PYTHON:-}" ]; then
    _bs_new_enough "$BRAINSTEM_PYTHON" && return 0
    _bs_say "BRAINSTEM_PYTHON ($BRAINSTEM_PYTHON) is no Python 3.11 or later; looking for another"
  fi
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    _bs_new_enough "$name" && return 0
  done
  return 1
}

_bs_new_enough() {
  local found
  command -v "$1" >/dev/null 2>&1 || return 1
  found=$("$1" -c 'import sys; print(sys.executable if sys.version_info >= (3, 11) else "")' 2>/dev/null) || return 1
  [ -n "$found" ] && printf '%s\n' "$found"
}

# Path of a uv that runs: the PATH's, one made here before, else one that pip can bring into .venv-uv (which the
# rule against changing the system's own packages does not touch).
_bs_uv() {
  local root=$1 python=$2 own="$1/.venv-uv"
  if [ -n "${BRAINSTEM_NO_UV:-}" ]; then return 1; fi
  if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then
    command -v uv
  elif "$own/bin/uv" --version >/dev/null 2>&1; then
    echo "$own/bin/uv"
  elif _bs_pip_uv "$root" "$python" "$own"; then
    echo "$own/bin/uv"
  else
    return 1
  fi
}

_bs_pip_uv() {
  local root=$1 python=$2 own=$3
  rm -rf "$own"
  if "$python" -m pip --version >/dev/null 2>&1; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target "$own" \
      -r "$root/requirements-uv.lock" >/dev/null 2>&1
  elif "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    "$python" -m venv "$own" >/dev/null 2>&1 &&
      "$own/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        -r "$root/requirements-uv.lock" >/dev/null 2>&1
  else
    return 1
  fi && "$own/bin/uv" --version >/dev/null 2>&1 && return 0
  rm -rf "$own"
  return 1
}
