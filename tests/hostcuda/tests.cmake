# The executor's own tests, with threads and blocks in all three orders and with work put off, and
# the planted faults in every build.
sim_program(sim_float16_test plumb_sim "" float16_test.cpp)
sim_program(sim_demo_test plumb_sim "" demo_test.cu)
sim_program(sim_api_test plumb_sim "" api_test.cu)
function(sim_test name program environment)
    add_test(NAME ${name} COMMAND ${program})
    set_tests_properties(${name} PROPERTIES TIMEOUT 600 ENVIRONMENT "${environment}")
endfunction()
sim_test(sim_float16 sim_float16_test "")
sim_test(sim_demo sim_demo_test PLUMB_SIM_ORDER=0)
sim_test(sim_demo_descending sim_demo_test PLUMB_SIM_ORDER=1)
sim_test(sim_demo_shuffled sim_demo_test "PLUMB_SIM_ORDER=2;PLUMB_SIM_SEED=3")
sim_test(sim_api sim_api_test "")
sim_test(sim_api_lazy sim_api_test PLUMB_SIM_LAZY=1)

# Fibers of the C library, for processors other than x86-64.
add_executable(sim_ucontext_test demo_test.cu sim_fiber.cpp
    $<FILTER:$<TARGET_OBJECTS:plumb_sim>,EXCLUDE,/sim_fiber\\.cpp>)
set_target_properties(sim_ucontext_test PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_include_directories(sim_ucontext_test PRIVATE ${sim_includes})
target_compile_definitions(sim_ucontext_test PRIVATE PLUMB_SIM_UCONTEXT)
target_compile_options(sim_ucontext_test PRIVATE ${sim_flags})
target_link_libraries(sim_ucontext_test PRIVATE Threads::Threads)
sim_test(sim_ucontext sim_ucontext_test "")

# Our declarations against the toolkit's, where there is one.
find_path(CUDA_HEADERS cublasLt.h HINTS /usr/local/cuda/include)
if(CUDA_HEADERS)
    sim_program(header_values_ours plumb_sim "" header_values.cpp)
    add_executable(header_values_theirs header_values.cpp)
    target_include_directories(header_values_theirs SYSTEM PRIVATE ${CUDA_HEADERS})
    set_target_properties(header_values_theirs PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME sim_header_values
        COMMAND ${CMAKE_COMMAND} -DOURS=$<TARGET_FILE:header_values_ours>
            -DTHEIRS=$<TARGET_FILE:header_values_theirs>
            -P ${CMAKE_CURRENT_SOURCE_DIR}/header_values.cmake)
endif()

# Every op on cuda-sim against its oracle, with threads and blocks in ascending order; descending
# and work put off; shuffled and each op a captured graph.
function(sim_ops_test name)
    add_test(NAME ${name} COMMAND ops_test --jobs 1 --filter "ops/every*")
    set_tests_properties(${name} PROPERTIES TIMEOUT 600 FAIL_REGULAR_EXPRESSION "Tested: 0 "
        ENVIRONMENT "PLUMB_TEST_DEVICE=cuda-sim;${ARGN}")
endfunction()
sim_ops_test(ops_test_sim)
if(NOT CMAKE_CXX_FLAGS MATCHES "sanitize")
    sim_ops_test(ops_test_sim_lazy PLUMB_SIM_ORDER=1 PLUMB_SIM_LAZY=1)
    sim_ops_test(ops_test_sim_graph PLUMB_SIM_ORDER=2 PLUMB_SIM_SEED=3 PLUMB_CUDA_GRAPH=1)
endif()

# A sanitised tree has the sanitised build of everything above; the rest needs a plain one.
if(CMAKE_CXX_FLAGS MATCHES "sanitize")
    return()
endif()
add_library(plumb_sim_sanitized OBJECT ${sim_sources})
target_include_directories(plumb_sim_sanitized PRIVATE ${sim_includes})
target_compile_options(plumb_sim_sanitized PRIVATE ${sim_flags} ${sim_sanitize})
sim_program(planted_bugs plumb_sim "" planted_bugs.cu)
sim_program(planted_bugs_sanitized plumb_sim_sanitized "${sim_sanitize}" planted_bugs.cu)
set(planted_bugs_checking "")
if(sim_can_check)
    check_objects(check_sim executor "" ${sim_sources})
    foreach(test demo_test api_test planted_bugs)
        check_objects(object kernel "" ${test}.cu)
        check_program(${test}_checking ${object} ${check_sim})
    endforeach()
    sim_test(sim_demo_checking demo_test_checking "")
    sim_test(sim_demo_counting demo_test_checking PLUMB_SIM_COUNT=1)
    sim_test(sim_api_checking api_test_checking "")
    set(planted_bugs_checking $<TARGET_FILE:planted_bugs_checking>)
else()
    message(STATUS "no clang++ of version 14 or newer: no checking build of the CUDA sources")
endif()
add_test(NAME sim_planted_bugs
    COMMAND ${CMAKE_COMMAND} -DPLAIN=$<TARGET_FILE:planted_bugs>
        -DSANITIZED=$<TARGET_FILE:planted_bugs_sanitized> -DCHECKING=${planted_bugs_checking}
        -P ${CMAKE_CURRENT_SOURCE_DIR}/planted_bugs.cmake)
set_tests_properties(sim_planted_bugs PROPERTIES TIMEOUT 600)

# Every op's cases in the checking build: the backend linked in, C code as in the rest of the tree.
if(sim_can_check)
    check_objects(check_kernels kernel "-DPLUMB_BACKEND_LINKED;-DPLUMB_BACKEND_NAME=\"cuda-sim\""
        ${gpu_sources})
    check_program(gpu_check gpu_check.c ${check_kernels} ${check_sim})
    target_include_directories(gpu_check PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(gpu_check PRIVATE plumb_engine)
    sim_test(sim_gpu_check gpu_check "")
    sim_test(sim_gpu_count gpu_check "PLUMB_SIM_COUNT=1;PLUMB_SIM_RACES=0")
    # Training steps in it: the program itself, in a folder where device_run_test finds it.
    check_program(plumb_checking plumb_checking.c ${check_kernels} ${check_sim})
    set_target_properties(plumb_checking PROPERTIES OUTPUT_NAME plumb
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/checking)
    target_include_directories(plumb_checking PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(plumb_checking PRIVATE plumb_engine)
    add_test(NAME device_run_checking
        COMMAND device_run_test --jobs 1 --filter "device_run/*agree*")
    set_tests_properties(device_run_checking PROPERTIES TIMEOUT 600 FAIL_REGULAR_EXPRESSION
        "Tested: 0 " ENVIRONMENT "PLUMB_TEST_STEPS=1;PLUMB_BUILD=${CMAKE_BINARY_DIR}/checking")
endif()
