# Holds docs/losses.md against what the program prints.
#   cmake -DPLUMB=<program> -DPAGE=<docs/losses.md> -DOUT=<file> -P tools/losses_page.cmake
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND ${PLUMB} losses --markdown OUTPUT_FILE ${OUT} RESULT_VARIABLE rc)
if(NOT rc EQUAL 0)
    message(FATAL_ERROR "plumb losses --markdown: ${rc}")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${OUT} ${PAGE} RESULT_VARIABLE rc)
if(NOT rc EQUAL 0)
    message(FATAL_ERROR "docs/losses.md is stale: build/plumb losses --markdown > docs/losses.md")
endif()
