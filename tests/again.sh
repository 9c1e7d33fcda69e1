#!/bin/sh
# Run pytest; what fails beside other tests runs once more, by itself, and what fails then fails all.
# Two cores are late now and then, for three tests at a time. The first failure stays above to be
# read: a test that needs its second chance again is a fault, of the test or of framebuf.
set -u

"$@"
code=$?
[ $code = 5 ] && exit 0 # none was chosen
[ $code = 1 ] || exit $code
echo "What failed runs once more, by itself:" >&2
"$@" -n 0 -v --last-failed --last-failed-no-failures none
