/* Prints every value and the layout of every type that include/ declares. Built once with those
 * headers and once with the toolkit's, where there is one: the two must print the same. */
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdio.h>

#define PRINT(name) printf("%s %d\n", #name, (int)(name))
#define SIZE(type) printf("%s %zu %zu\n", #type, sizeof(type), alignof(type))

static void print_runtime()
{
    PRINT(cudaSuccess);
    PRINT(cudaErrorInvalidValue);
    PRINT(cudaErrorMemoryAllocation);
    PRINT(cudaErrorInvalidConfiguration);
    PRINT(cudaErrorInsufficientDriver);
    PRINT(cudaErrorNoDevice);
    PRINT(cudaErrorInvalidDevice);
    PRINT(cudaErrorNotReady);
    PRINT(cudaErrorLaunchFailure);
    PRINT(cudaErrorStreamCaptureUnsupported);
    PRINT(cudaErrorStreamCaptureInvalidated);
    PRINT(cudaMemcpyHostToHost);
    PRINT(cudaMemcpyHostToDevice);
    PRINT(cudaMemcpyDeviceToHost);
    PRINT(cudaMemcpyDeviceToDevice);
    PRINT(cudaMemcpyDefault);
    PRINT(cudaMemoryTypeUnregistered);
    PRINT(cudaMemoryTypeHost);
    PRINT(cudaMemoryTypeDevice);
    PRINT(cudaMemoryTypeManaged);
    PRINT(cudaStreamDefault);
    PRINT(cudaStreamNonBlocking);
    PRINT(cudaEventDefault);
    PRINT(cudaEventBlockingSync);
    PRINT(cudaEventDisableTiming);
    PRINT(cudaHostAllocDefault);
    PRINT(cudaHostAllocPortable);
    PRINT(cudaHostAllocMapped);
    PRINT(cudaStreamCaptureModeGlobal);
    PRINT(cudaStreamCaptureModeThreadLocal);
    PRINT(cudaStreamCaptureModeRelaxed);
    PRINT(cudaStreamCaptureStatusNone);
    PRINT(cudaStreamCaptureStatusActive);
    PRINT(cudaStreamCaptureStatusInvalidated);
    PRINT(cudaFuncAttributeMaxDynamicSharedMemorySize);
    PRINT(cudaFuncAttributePreferredSharedMemoryCarveout);
    PRINT(cudaDevAttrMaxThreadsPerBlock);
    PRINT(cudaDevAttrMaxSharedMemoryPerBlock);
    PRINT(cudaDevAttrWarpSize);
    PRINT(cudaDevAttrClockRate);
    PRINT(cudaDevAttrMultiProcessorCount);
    PRINT(cudaDevAttrMemoryClockRate);
    PRINT(cudaDevAttrGlobalMemoryBusWidth);
    PRINT(cudaDevAttrL2CacheSize);
    PRINT(cudaDevAttrComputeCapabilityMajor);
    PRINT(cudaDevAttrComputeCapabilityMinor);
    PRINT(cudaDevAttrMaxSharedMemoryPerBlockOptin);
}

static void print_cublas()
{
    PRINT(CUDA_R_32F);
    PRINT(CUDA_R_64F);
    PRINT(CUDA_R_16F);
    PRINT(CUDA_R_8I);
    PRINT(CUDA_R_32I);
    PRINT(CUDA_R_16BF);
    PRINT(CUBLAS_STATUS_SUCCESS);
    PRINT(CUBLAS_STATUS_NOT_INITIALIZED);
    PRINT(CUBLAS_STATUS_ALLOC_FAILED);
    PRINT(CUBLAS_STATUS_INVALID_VALUE);
    PRINT(CUBLAS_STATUS_ARCH_MISMATCH);
    PRINT(CUBLAS_STATUS_EXECUTION_FAILED);
    PRINT(CUBLAS_STATUS_INTERNAL_ERROR);
    PRINT(CUBLAS_STATUS_NOT_SUPPORTED);
    PRINT(CUBLAS_OP_N);
    PRINT(CUBLAS_OP_T);
    PRINT(CUBLAS_OP_C);
    PRINT(CUBLAS_COMPUTE_32F);
    PRINT(CUBLAS_COMPUTE_32F_PEDANTIC);
    PRINT(CUBLAS_COMPUTE_32F_FAST_TF32);
    PRINT(CUBLASLT_ORDER_COL);
    PRINT(CUBLASLT_ORDER_ROW);
    PRINT(CUBLASLT_POINTER_MODE_HOST);
    PRINT(CUBLASLT_POINTER_MODE_DEVICE);
    PRINT(CUBLASLT_EPILOGUE_DEFAULT);
    PRINT(CUBLASLT_EPILOGUE_RELU);
    PRINT(CUBLASLT_EPILOGUE_BIAS);
    PRINT(CUBLASLT_EPILOGUE_RELU_BIAS);
    PRINT(CUBLASLT_EPILOGUE_GELU);
    PRINT(CUBLASLT_EPILOGUE_GELU_BIAS);
}

static void print_attributes()
{
    PRINT(CUBLASLT_MATRIX_LAYOUT_TYPE);
    PRINT(CUBLASLT_MATRIX_LAYOUT_ORDER);
    PRINT(CUBLASLT_MATRIX_LAYOUT_ROWS);
    PRINT(CUBLASLT_MATRIX_LAYOUT_COLS);
    PRINT(CUBLASLT_MATRIX_LAYOUT_LD);
    PRINT(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
    PRINT(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
    PRINT(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE);
    PRINT(CUBLASLT_MATMUL_DESC_SCALE_TYPE);
    PRINT(CUBLASLT_MATMUL_DESC_POINTER_MODE);
    PRINT(CUBLASLT_MATMUL_DESC_TRANSA);
    PRINT(CUBLASLT_MATMUL_DESC_TRANSB);
    PRINT(CUBLASLT_MATMUL_DESC_TRANSC);
    PRINT(CUBLASLT_MATMUL_DESC_EPILOGUE);
    PRINT(CUBLASLT_MATMUL_DESC_BIAS_POINTER);
    PRINT(CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET);
    PRINT(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
    PRINT(CUBLASLT_MATMUL_PREF_SEARCH_MODE);
    PRINT(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
    PRINT(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
    PRINT(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
    PRINT(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
    PRINT(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
    PRINT(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
    PRINT(CUBLASLT_REDUCTION_SCHEME_NONE);
    PRINT(CUBLASLT_REDUCTION_SCHEME_INPLACE);
    PRINT(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    PRINT(CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE);
    PRINT(CUBLASLT_REDUCTION_SCHEME_MASK);
}

static void print_types()
{
    SIZE(dim3);
    SIZE(uint3);
    SIZE(char4);
    SIZE(uchar2);
    SIZE(short2);
    SIZE(ushort4);
    SIZE(int2);
    SIZE(int4);
    SIZE(uint2);
    SIZE(uint4);
    SIZE(float2);
    SIZE(float3);
    SIZE(float4);
    SIZE(longlong2);
    SIZE(double2);
    SIZE(__nv_bfloat16);
    SIZE(__nv_bfloat162);
    SIZE(__half);
    SIZE(__half2);
    SIZE(cublasLtMatmulAlgo_t);
}

int main()
{
    print_runtime();
    print_cublas();
    print_attributes();
    print_types();
    return 0;
}
