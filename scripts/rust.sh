# Sourced, not run: puts cargo on the PATH where rustup has put it into a home directory whose profile this
# shell has not read.
case ":$PATH:" in
*":${CARGO_HOME:-$HOME/.cargo}/bin:"*) ;;
*) PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH" ;;
esac
export PATH
