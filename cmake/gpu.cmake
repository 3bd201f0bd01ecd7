# The device backends: libplumb_cuda.so by nvcc, where there is a toolkit, and libplumb_cuda_sim.so,
# the same sources on the executor of tests/hostcuda.
set(PLUMB_CUDA AUTO CACHE STRING "Build the CUDA backend: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE PLUMB_CUDA PROPERTY STRINGS AUTO ON OFF)
file(GLOB gpu_sources CONFIGURE_DEPENDS kernels/*/*.cu runtime/cuda/*.cu)
set(gpu_includes ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})

if(NOT PLUMB_CUDA STREQUAL OFF)
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
        if(NOT CMAKE_CUDA_ARCHITECTURES)
            set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
        endif()
        enable_language(CUDA)
        find_package(CUDAToolkit REQUIRED)
        add_library(plumb_cuda MODULE ${gpu_sources})
        set_target_properties(plumb_cuda PROPERTIES CUDA_STANDARD 20 CXX_STANDARD 20
            CUDA_VISIBILITY_PRESET hidden CUDA_RUNTIME_LIBRARY Static)
        target_include_directories(plumb_cuda PRIVATE ${gpu_includes})
        target_compile_options(plumb_cuda PRIVATE -Xcompiler=-Wall,-Wno-unknown-pragmas
            $<$<BOOL:${PLUMB_WERROR}>:-Werror=all-warnings>)
        target_link_libraries(plumb_cuda PRIVATE CUDA::cublasLt)
        install(TARGETS plumb_cuda DESTINATION ${CMAKE_INSTALL_LIBDIR})
    elseif(PLUMB_CUDA STREQUAL ON)
        message(FATAL_ERROR "PLUMB_CUDA=ON, but there is no nvcc")
    else()
        message(STATUS "no nvcc: the CUDA backend is not built (the CPU build is complete)")
    endif()
endif()

# A folder of its own, because a source's language is set per folder: there .cu files are C++.
include(CheckLanguage)
check_language(CXX)
if(CMAKE_CXX_COMPILER)
    add_subdirectory(tests/hostcuda)
else()
    message(STATUS "no C++ compiler: the CUDA sources are not run on the CPU (device cuda-sim)")
endif()
