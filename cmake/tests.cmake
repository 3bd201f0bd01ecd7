# One ctest per *_test.c, named after it. A program that registers no test fails.
pkg_check_modules(criterion IMPORTED_TARGET criterion)
if(NOT criterion_FOUND)
    message(STATUS "Criterion is missing (libcriterion-dev): tests are not built")
    return()
endif()
file(GLOB test_sources CONFIGURE_DEPENDS kernels/*/*_test.c runtime/*_test.c algos/*_test.c
    io/*_test.c tools/*_test.c tests/*_test.c)
if(NOT TARGET plumb_cuda_sim) # tests of device code run on the simulator
    list(FILTER test_sources EXCLUDE REGEX "_gpu_test\\.c$")
endif()
set(test_environment PLUMB_SOURCE=${CMAKE_SOURCE_DIR} PLUMB_BUILD=${CMAKE_BINARY_DIR}
    PLUMB_BACKENDS=${CMAKE_BINARY_DIR} OMP_WAIT_POLICY=passive)
# What tests share: golden files, tensors of any dtype.
add_library(plumb_test_support STATIC tests/golden.c tests/tensor.c tests/trajectory_data.c
    tests/trajectory_replay.c)
target_link_libraries(plumb_test_support PUBLIC plumb_engine PkgConfig::criterion)
foreach(t ${test_sources})
    get_filename_component(name ${t} NAME_WE)
    add_executable(${name} ${t})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(${name} PRIVATE plumb_test_support plumb_engine PkgConfig::criterion m)
    if(name MATCHES "_gpu_test$")
        add_dependencies(${name} plumb_cuda_sim)
    endif()
    add_test(NAME ${name} COMMAND ${name} --jobs 1)
    set_tests_properties(${name} PROPERTIES TIMEOUT 600 FAIL_REGULAR_EXPRESSION "Tested: 0 "
        ENVIRONMENT "${test_environment}")
    # Tests that let a device be chosen run the device code as well.
    file(STRINGS ${t} chooses REGEX "plumb_test_device\\(" LIMIT_COUNT 1)
    if(chooses)
        add_test(NAME ${name}_cuda_sim COMMAND ${name} --jobs 1)
        set_tests_properties(${name}_cuda_sim PROPERTIES TIMEOUT 600 FAIL_REGULAR_EXPRESSION
            "Tested: 0 " ENVIRONMENT "PLUMB_TEST_DEVICE=cuda-sim;${test_environment}")
    endif()
endforeach()
# The native code of every instruction set, on a machine that has the best one.
foreach(isa v2 v3)
    add_test(NAME ops_test_${isa} COMMAND ops_test --jobs 1 --filter "ops/every*")
    set_tests_properties(ops_test_${isa} PROPERTIES TIMEOUT 600 FAIL_REGULAR_EXPRESSION "Tested: 0 "
        ENVIRONMENT "PLUMB_ISA=${isa};OMP_WAIT_POLICY=passive")
endforeach()
# Style and the arrows between the layers.
foreach(check layers checksrc)
    add_test(NAME ${check}
        COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR}
            -P ${CMAKE_SOURCE_DIR}/tools/${check}.cmake)
endforeach()
add_test(NAME losses_page COMMAND ${CMAKE_COMMAND} -DPLUMB=$<TARGET_FILE:plumb_bin>
    -DPAGE=${CMAKE_SOURCE_DIR}/docs/losses.md -DOUT=${CMAKE_BINARY_DIR}/tests/losses.md
    -P ${CMAKE_SOURCE_DIR}/tools/losses_page.cmake)
# Programs that replay a folder of expected values: golden_<what> [DIR], by default the shared one.
file(GLOB golden_sources CONFIGURE_DEPENDS tests/golden_*.c)
list(FILTER golden_sources EXCLUDE REGEX "_test\\.c$|golden_run\\.c$")
file(GLOB golden_adapters CONFIGURE_DEPENDS kernels/*/*_golden.c)
foreach(t ${golden_sources})
    get_filename_component(name ${t} NAME_WE)
    add_executable(${name} ${t})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(${name} PRIVATE plumb_test_support plumb_engine m)
    set(arguments "")
    if(name MATCHES "^golden_(train|models)$" AND CMAKE_C_FLAGS MATCHES "sanitize")
        set(arguments --device cpu) # the f64 loops take minutes under a sanitizer
    endif()
    add_test(NAME ${name} COMMAND ${name} ${arguments})
    set_tests_properties(${name} PROPERTIES TIMEOUT 600 ENVIRONMENT "${test_environment}")
endforeach()
target_sources(golden_losses PRIVATE tests/golden_run.c ${golden_adapters})
target_include_directories(golden_losses PRIVATE ${CMAKE_BINARY_DIR})
add_test(NAME golden_losses_cuda_sim COMMAND golden_losses)
set_tests_properties(golden_losses_cuda_sim PROPERTIES TIMEOUT 600 ENVIRONMENT
    "PLUMB_TEST_DEVICE=cuda-sim;${test_environment}")
# Programs built outside this tree link the plain library.
if(NOT CMAKE_C_FLAGS MATCHES "sanitize")
    include(tests/library.cmake)
endif()
