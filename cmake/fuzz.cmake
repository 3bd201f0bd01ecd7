# Fuzz targets: tests/fuzz/<name>_fuzz.c, here as programs that replay the corpus (tests/fuzz has
# the project that builds them with libFuzzer). Each is a test, and one more in which allocations
# fail.
file(GLOB fuzz_sources CONFIGURE_DEPENDS tests/fuzz/*_fuzz.c)
foreach(t ${fuzz_sources})
    get_filename_component(name ${t} NAME_WE)
    string(REGEX REPLACE "_fuzz$" "" subject ${name})
    add_executable(${name} ${t} tests/fuzz/fuzz.c tests/fuzz/heap.c tests/fuzz/replay.c)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(${name} PRIVATE plumb_engine)
    if(CMAKE_C_FLAGS MATCHES "sanitize=address")
        foreach(call malloc calloc realloc strdup strndup)
            target_link_options(${name} PRIVATE -Wl,--wrap=${call})
        endforeach()
    endif()
    foreach(mode "" --torture)
        string(REPLACE -- _ suffix "${mode}")
        add_test(NAME fuzz_${subject}${suffix}
            COMMAND ${name} ${mode} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${subject})
        set_tests_properties(fuzz_${subject}${suffix} PROPERTIES TIMEOUT 600)
    endforeach()
endforeach()
