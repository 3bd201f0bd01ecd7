# make install: the binary, both libraries and the device backend, the headers of the library, a
# pkg-config file and a CMake package. find_package(plumb) gives plumb::plumb, the shared library;
# with COMPONENTS static plumb::plumb_static as well, which needs what the library is made with.
include(CMakePackageConfigHelpers)
set_target_properties(plumb_shared PROPERTIES EXPORT_NAME plumb)
install(TARGETS plumb_shared EXPORT plumbTargets)
install(TARGETS plumb_static EXPORT plumbStaticTargets)
foreach(header ${public_headers})
    install(FILES include/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/plumb)
endforeach()
install(DIRECTORY include/plumb DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILES_MATCHING PATTERN "*.def")
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/plumb)
install(EXPORT plumbTargets NAMESPACE plumb:: DESTINATION ${package_folder})
install(EXPORT plumbStaticTargets NAMESPACE plumb:: DESTINATION ${package_folder})
configure_package_config_file(cmake/plumbConfig.cmake.in plumbConfig.cmake
    INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(plumbConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/plumbConfig.cmake ${CMAKE_BINARY_DIR}/plumbConfigVersion.cmake
    DESTINATION ${package_folder})
# From the pkg-config file up to the prefix: two steps for lib, three for lib/<arch>.
file(RELATIVE_PATH PLUMB_PC_UP /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/plumb.pc.in plumb.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/plumb.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
