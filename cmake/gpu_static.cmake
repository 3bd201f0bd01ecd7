# Every .cu file once more for each architecture, for what the compiler says about its kernels:
# the target gpu_static leaves PTX and ptxas's report, the test cuda_static judges them.
if(NOT BUILD_TESTING)
    return()
endif()
add_test(NAME cuda_static_refuses COMMAND ${CMAKE_COMMAND}
    -DFOLDER=${CMAKE_SOURCE_DIR}/tests/gpu_static
    -DALLOWED=${CMAKE_SOURCE_DIR}/tests/gpu_static/allowed.txt
    -P ${CMAKE_SOURCE_DIR}/tools/gpu_static.cmake)
set_tests_properties(cuda_static_refuses PROPERTIES PASS_REGULAR_EXPRESSION
    "2 kernels .*, 2 faults.*, sm_80: 40 bytes of stack, 16 of spills.*, sm_80: no 16-byte load")
if(NOT TARGET plumb_cuda)
    add_test(NAME cuda_static COMMAND ${CMAKE_COMMAND} -E echo "skipped: there is no nvcc")
    set_tests_properties(cuda_static PROPERTIES SKIP_REGULAR_EXPRESSION "^skipped")
    return()
endif()
get_filename_component(cuda_bin ${CMAKE_CUDA_COMPILER} REALPATH)
get_filename_component(cuda_bin ${cuda_bin} DIRECTORY)
find_program(PLUMB_PTXAS ptxas HINTS ${cuda_bin} REQUIRED)
set(static_folder ${CMAKE_BINARY_DIR}/gpu_static)
file(MAKE_DIRECTORY ${static_folder})
list(TRANSFORM gpu_includes PREPEND -I OUTPUT_VARIABLE static_includes)
set(static_logs "")
string(CONCAT report "\"$0\" -v -O3 -arch=sm_$1 \"$2.ptx\" -o \"$2.cubin\" > \"$2.log\" 2>&1"
    " || { cat \"$2.log\"; exit 1; }")
foreach(source ${gpu_sources})
    get_filename_component(name ${source} NAME_WE)
    foreach(arch 80 90)
        set(to ${static_folder}/${name}_sm_${arch})
        add_custom_command(OUTPUT ${to}.ptx
            COMMAND ${CMAKE_CUDA_COMPILER} -std=c++20 -O3 -arch=compute_${arch} ${static_includes}
                -ptx ${source} -o ${to}.ptx -MD -MF ${to}.d
            DEPENDS ${source} DEPFILE ${to}.d VERBATIM COMMENT "PTX of ${name} for sm_${arch}")
        add_custom_command(OUTPUT ${to}.log
            COMMAND sh -c "${report}" ${PLUMB_PTXAS} ${arch} ${to}
            DEPENDS ${to}.ptx VERBATIM COMMENT "ptxas's report on ${name} for sm_${arch}")
        list(APPEND static_logs ${to}.log)
    endforeach()
endforeach()
file(GLOB old_logs ${static_folder}/*.log) # of sources that are gone
list(REMOVE_ITEM old_logs ${static_logs})
if(old_logs)
    file(REMOVE ${old_logs})
endif()
add_custom_target(gpu_static DEPENDS ${static_logs})
add_test(NAME cuda_static_build COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR}
    --target gpu_static)
set_tests_properties(cuda_static_build PROPERTIES FIXTURES_SETUP gpu_static TIMEOUT 600)
add_test(NAME cuda_static COMMAND ${CMAKE_COMMAND} -DFOLDER=${static_folder}
    -DALLOWED=${CMAKE_SOURCE_DIR}/kernels/gpu_static.txt -DTABLE=${static_folder}/registers.txt
    -P ${CMAKE_SOURCE_DIR}/tools/gpu_static.cmake)
set_tests_properties(cuda_static PROPERTIES FIXTURES_REQUIRED gpu_static)
