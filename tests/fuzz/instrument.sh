#!/bin/sh
# RUSTC_WRAPPER: compiles our own code (the library and the targets) with coverage feedback for
# libFuzzer and leaves every dependency as it is. Stable flags only.
name= previous=
for argument in "$@"; do
  [ "$previous" = --crate-name ] && name=$argument
  previous=$argument
done
case $name in
trt_pipeline | fuzz_*)
  exec "$@" --cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1
  ;;
*) exec "$@" ;;
esac
