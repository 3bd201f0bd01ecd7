# Programs of device code in three builds: plain; sanitised (ASan + UBSan); checking (clang++ alone
# can: kernels instrumented by -fsanitize=thread, whose calls sim_tsan.cpp answers).
# An empty PLUMB_UNROLL before a loop looks like wrong indentation to clang.
set(sim_warnings -Wall -Wextra -Wno-unknown-pragmas -Wno-misleading-indentation)
if(PLUMB_WERROR)
    list(APPEND sim_warnings -Werror)
endif()
set(sim_sanitize -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined)

# A program of `sources` on the executor `executor` (an object library), compiled with `flags`.
function(sim_program name executor flags)
    add_executable(${name} ${ARGN})
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_include_directories(${name} PRIVATE ${sim_includes})
    target_compile_options(${name} PRIVATE ${sim_flags} ${flags})
    target_link_options(${name} PRIVATE ${flags})
    target_link_libraries(${name} PRIVATE ${executor} Threads::Threads)
endfunction()

find_program(SIM_CLANG NAMES clang++ clang++-20 clang++-19 clang++-18 clang++-17 clang++-16
    clang++-15 clang++-14 DOC "A clang++ of version 14 or newer, for the checking build")
set(sim_can_check OFF)
if(SIM_CLANG)
    execute_process(COMMAND ${SIM_CLANG} -dumpversion OUTPUT_VARIABLE clang_version
        OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(clang_version VERSION_GREATER_EQUAL 14)
        set(sim_can_check ON)
    endif()
endif()
# addr2line of binutils 2.40 misreads file names in DWARF 5.
set(check_common -std=c++20 -gdwarf-4 -fno-strict-aliasing -ffp-contract=off -DPLUMB_SIM_CHECK
    -D_GNU_SOURCE -fno-pie ${sim_warnings})
set(check_kernel -O1 -fsanitize=thread)
set(check_executor -O2)

# Objects of the checking build: check_objects(<variable> <kernel|executor> "<definitions>"
# <source>...). One command each, because the compiler is not the one of this tree.
function(check_objects out kind definitions)
    set(objects "")
    list(TRANSFORM sim_includes PREPEND -I OUTPUT_VARIABLE includes)
    foreach(source ${ARGN})
        get_filename_component(source ${source} ABSOLUTE)
        file(RELATIVE_PATH relative ${CMAKE_SOURCE_DIR} ${source})
        set(object ${CMAKE_CURRENT_BINARY_DIR}/checking/${relative}.o)
        get_filename_component(folder ${object} DIRECTORY)
        file(MAKE_DIRECTORY ${folder})
        add_custom_command(OUTPUT ${object}
            COMMAND ${SIM_CLANG} ${check_common} ${check_${kind}} ${definitions} ${includes} -MD
                -MF ${object}.d -MT ${object} -x c++ -c ${source} -o ${object}
            DEPENDS ${source} DEPFILE ${object}.d VERBATIM
            COMMENT "Building checking object ${relative}")
        list(APPEND objects ${object})
    endforeach()
    set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    set(${out} ${objects} PARENT_SCOPE)
endfunction()

# A program of checking objects.
function(check_program name)
    add_executable(${name} ${ARGN})
    set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX POSITION_INDEPENDENT_CODE OFF
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_options(${name} PRIVATE -no-pie)
    target_link_libraries(${name} PRIVATE Threads::Threads)
endfunction()
