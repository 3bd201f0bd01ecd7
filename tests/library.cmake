# The library as a stranger gets it: installed into a folder of the build, then looked at.
set(installed ${CMAKE_BINARY_DIR}/installed)
add_test(NAME install COMMAND ${CMAKE_COMMAND} --install ${CMAKE_BINARY_DIR} --prefix ${installed})
set_tests_properties(install PROPERTIES FIXTURES_SETUP installed)
add_test(NAME exports COMMAND ${CMAKE_COMMAND}
    -DLIBRARY=${installed}/${CMAKE_INSTALL_LIBDIR}/libplumb.so -DNM=${CMAKE_NM}
    -DCC=${CMAKE_C_COMPILER} -DCXX=${CMAKE_CXX_COMPILER}
    -DINCLUDE=${installed}/${CMAKE_INSTALL_INCLUDEDIR}
    -DHEADERS=${CMAKE_BINARY_DIR}/gen/layout_headers.h -P ${CMAKE_SOURCE_DIR}/tests/exports.cmake)
set_tests_properties(exports PROPERTIES FIXTURES_REQUIRED installed)
add_test(NAME examples COMMAND ${CMAKE_COMMAND} -DPREFIX=${installed}
    -DLIBDIR=${CMAKE_INSTALL_LIBDIR} -DSOURCE=${CMAKE_SOURCE_DIR}/examples/c
    -DMANUAL=${CMAKE_SOURCE_DIR}/docs/library.md -DWORK=${CMAKE_BINARY_DIR}/examples
    -DBACKENDS=${CMAKE_BINARY_DIR} -DCC=${CMAKE_C_COMPILER}
    -P ${CMAKE_SOURCE_DIR}/tests/examples.cmake)
set_tests_properties(examples PROPERTIES FIXTURES_REQUIRED installed TIMEOUT 300
    ENVIRONMENT OMP_WAIT_POLICY=passive)
