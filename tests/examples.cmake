# Builds the programs of examples/c against an installed library, one through pkg-config, one
# through CMake's package, and runs them: DPO's loss starts at ln 2 and falls. Then the program in
# the manual, which prints what the manual says.
#   cmake -DPREFIX=.. -DLIBDIR=lib -DSOURCE=examples/c -DMANUAL=.. -DWORK=.. -DBACKENDS=.. -DCC=..
#       -P this
cmake_minimum_required(VERSION 3.25)
file(MAKE_DIRECTORY ${WORK})
set(ENV{PKG_CONFIG_PATH} ${PREFIX}/${LIBDIR}/pkgconfig)
set(ENV{LD_LIBRARY_PATH} ${PREFIX}/${LIBDIR})
find_program(make NAMES gmake make REQUIRED)

function(run_example)
    execute_process(COMMAND ${ARGN} OUTPUT_VARIABLE text COMMAND_ECHO STDOUT
        COMMAND_ERROR_IS_FATAL ANY)
    message(STATUS "${text}")
    if(NOT text MATCHES "step 0: loss 0\\.6931.*step 3: loss 0\\.[1-4]")
        message(FATAL_ERROR "examples: the loss does not fall from ln 2")
    endif()
endfunction()

file(REMOVE ${WORK}/fused_dpo)
execute_process(COMMAND ${make} -f ${SOURCE}/Makefile VPATH=${SOURCE} CC=${CC}
    WORKING_DIRECTORY ${WORK} COMMAND_ERROR_IS_FATAL ANY)
run_example(${WORK}/fused_dpo)

file(READ ${MANUAL} manual)
if(NOT manual MATCHES "```c\n(.*)\n```\n\nIt prints\n\n```text\n([^`]*)```")
    message(FATAL_ERROR "examples: ${MANUAL} has no program and what it prints")
endif()
file(WRITE ${WORK}/manual.c "${CMAKE_MATCH_1}\n")
set(printed "${CMAKE_MATCH_2}")
execute_process(COMMAND pkg-config --cflags --libs plumb OUTPUT_VARIABLE flags
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags)
execute_process(COMMAND ${CC} -Wall -Wextra -Werror manual.c -o manual ${flags}
    WORKING_DIRECTORY ${WORK} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${WORK}/manual OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
if(NOT text STREQUAL printed)
    message(FATAL_ERROR "examples: the manual's program prints\n${text}")
endif()

execute_process(COMMAND ${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/cmake -DCMAKE_C_COMPILER=${CC}
    -DCMAKE_PREFIX_PATH=${PREFIX} COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --build ${WORK}/cmake COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND nvidia-smi -L RESULT_VARIABLE no_gpu OUTPUT_QUIET ERROR_QUIET)
if(no_gpu AND NOT EXISTS ${BACKENDS}/libplumb_cuda_sim.so)
    message(STATUS "skipped: neither a GPU nor the executor of CUDA kernels")
elseif(no_gpu)
    set(ENV{PLUMB_BACKENDS} ${BACKENDS}) # the executor is not installed
    run_example(${WORK}/cmake/fused_dpo_cuda cuda-sim)
else()
    run_example(${WORK}/cmake/fused_dpo_cuda cuda)
endif()
