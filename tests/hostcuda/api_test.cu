/* The host side of the simulated device: runtime API, streams, graphs, cuBLASLt and, in the
 * checking build, the traffic counters. */
#include <cublasLt.h>

#include "tests/hostcuda/demo_kernels.h"
#include "tests/hostcuda/selftest.h"
#include "tests/hostcuda/sim_count.h"
typedef __nv_bfloat16 bf16;

static __global__ void add_one(float *x, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += 1.0f;
}

static void test_device()
{
    cudaDeviceProp p;
    int n, sm;
    CHECK(cudaGetDeviceCount(&n) == cudaSuccess && n == 3);
    CHECK(cudaSetDevice(2) == cudaSuccess && cudaGetDevice(&n) == cudaSuccess && n == 2);
    CHECK(cudaSetDevice(3) == cudaErrorInvalidDevice && cudaSetDevice(0) == cudaSuccess);
    CHECK(cudaGetLastError() == cudaErrorInvalidDevice && cudaGetLastError() == cudaSuccess);
    CHECK(cudaGetDeviceProperties(&p, 0) == cudaSuccess && p.warpSize == 32 && p.major == 8);
    CHECK(cudaDeviceGetAttribute(&sm, cudaDevAttrMultiProcessorCount, 0) == cudaSuccess);
    CHECK(sm == p.multiProcessorCount);
    CHECK(!cudaOccupancyMaxActiveBlocksPerMultiprocessor(&n, add_one, 256, 0) && n == 8);
    CHECK(!cudaOccupancyMaxActiveBlocksPerMultiprocessor(&n, add_one, 128, 100 << 10) && n == 2);
    CHECK(cudaFuncSetAttribute((const void *)add_one, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               228 << 10) == cudaErrorInvalidValue);
    CHECK(cudaGetLastError() == cudaErrorInvalidValue);
}

enum { N = 1000 };
struct two_streams {
    cudaStream_t a, b;
    float *h;
    Dev<float> d{ N };
    two_streams()
    {
        cudaMallocHost(&h, N * 4);
        cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
        cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
    }
    ~two_streams() { cudaStreamDestroy(a), cudaStreamDestroy(b), cudaFreeHost(h); }
};
static bool lazy() { return getenv("PLUMB_SIM_LAZY") != nullptr; }

/* Two streams joined by an event, a host buffer read only after its stream was waited for. */
static void test_event_between_streams()
{
    two_streams s;
    cudaEvent_t start, e;
    cudaEventCreate(&start), cudaEventCreateWithFlags(&e, cudaEventDefault);
    for (int i = 0; i < N; i++)
        s.h[i] = (float)i;
    cudaEventRecord(start, s.a);
    cudaMemcpyAsync(s.d.d, s.h, N * 4, cudaMemcpyHostToDevice, s.a);
    PLUMB_LAUNCH(add_one, 4, 256, 0, s.a, s.d.d, N);
    cudaEventRecord(e, s.a);
    cudaStreamWaitEvent(s.b, e, 0);
    PLUMB_LAUNCH(add_one, 4, 256, 0, s.b, s.d.d, N);
    cudaMemcpyAsync(s.h, s.d.d, N * 4, cudaMemcpyDeviceToHost, s.b);
    CHECK(s.h[5] == (lazy() ? 5.0f : 7.0f)); /* too early: in the lazy mode nothing has run yet */
    CHECK(cudaStreamQuery(s.b) == (lazy() ? cudaErrorNotReady : cudaSuccess));
    CHECK(cudaStreamSynchronize(s.b) == cudaSuccess && s.h[5] == 7.0f && s.h[N - 1] == N + 1);
    float ms = -1;
    CHECK(cudaEventElapsedTime(&ms, start, e) == cudaSuccess && ms >= 0);
    cudaEventDestroy(start), cudaEventDestroy(e);
}

/* Without the event wait the copy on the second stream does not see the first one's work. */
static void test_missing_event_shows_when_lazy()
{
    two_streams s;
    s.d.zero();
    PLUMB_LAUNCH(add_one, 4, 256, 0, s.a, s.d.d, N);
    cudaMemcpyAsync(s.h, s.d.d, N * 4, cudaMemcpyDeviceToHost, s.b);
    cudaStreamSynchronize(s.b);
    CHECK(s.h[0] == (lazy() ? 0.0f : 1.0f));
    cudaStreamSynchronize(s.a);
}

/* Captured work runs when its graph is launched, as often as that; a second stream is drawn in. */
static void test_graph()
{
    two_streams s;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t e;
    cudaStreamCaptureStatus status;
    cudaEventCreate(&e);
    s.d.zero();
    CHECK(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeGlobal) == cudaSuccess);
    PLUMB_LAUNCH(add_one, 4, 256, 0, s.a, s.d.d, N);
    cudaEventRecord(e, s.a);
    cudaStreamWaitEvent(s.b, e, 0);
    PLUMB_LAUNCH(add_one, 4, 256, 0, s.b, s.d.d, N);
    CHECK(cudaStreamIsCapturing(s.b, &status) == cudaSuccess);
    CHECK(status == cudaStreamCaptureStatusActive);
    CHECK(cudaStreamEndCapture(s.a, &graph) == cudaSuccess && graph);
    CHECK(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess);
    CHECK(cudaGraphDestroy(graph) == cudaSuccess);
    s.d.down();
    CHECK(s.d.h[7] == 0.0f);
    CHECK(cudaGraphLaunch(exec, s.a) == cudaSuccess && cudaGraphLaunch(exec, s.a) == cudaSuccess);
    CHECK(cudaStreamSynchronize(s.a) == cudaSuccess);
    s.d.down();
    CHECK(s.d.h[7] == 4.0f);
    cudaGraphExecDestroy(exec), cudaEventDestroy(e);
}

static void test_capture_forbids_allocation_and_waiting()
{
    for (int k = 0; k < 4; k++) {
        two_streams s;
        cudaGraph_t graph;
        float *p = nullptr;
        cudaStreamBeginCapture(s.a, cudaStreamCaptureModeGlobal);
        const cudaError_t e = k == 0   ? cudaMalloc(&p, 4)
                              : k == 1 ? cudaStreamSynchronize(s.a)
                              : k == 2 ? cudaDeviceSynchronize()
                                       : cudaMemcpy(s.d.d, s.h, 4, cudaMemcpyHostToDevice);
        CHECK(e == cudaErrorStreamCaptureUnsupported && !p);
        CHECK(cudaStreamEndCapture(s.a, &graph) == cudaErrorStreamCaptureInvalidated && !graph);
        cudaGetLastError();
    }
}

/* D = alpha op(A) op(B) + beta C (+ bias) by cuBLASLt, its layouts and the same sum in f64. */
struct gemm {
    int M, N, K;
    bool row_order, ta, tb;
};
struct matrix {
    int rows, cols, ld;
    bool row_order;
    size_t at(int r, int c) const { return row_order ? (size_t)r * ld + c : (size_t)c * ld + r; }
    size_t size() const { return (size_t)(row_order ? rows : cols) * ld; }
};
static matrix shaped(int rows, int cols, bool row_order)
{
    return { rows, cols, (row_order ? cols : rows) + 3, row_order }; /* a gap after each */
}

static cublasLtMatrixLayout_t layout_of(const matrix &m, cudaDataType type)
{
    cublasLtMatrixLayout_t l;
    const cublasLtOrder_t order = m.row_order ? CUBLASLT_ORDER_ROW : CUBLASLT_ORDER_COL;
    CHECK(!cublasLtMatrixLayoutCreate(&l, type, m.rows, m.cols, m.ld));
    CHECK(!cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_ORDER, &order, sizeof order));
    return l;
}

static cublasLtMatmulDesc_t description_of(const gemm &g, const float *bias)
{
    cublasLtMatmulDesc_t d;
    const cublasOperation_t ta = g.ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t tb = g.tb ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t add = CUBLASLT_EPILOGUE_BIAS;
    CHECK(!cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    CHECK(!cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta));
    CHECK(!cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb));
    if (!bias) return d;
    CHECK(!cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_EPILOGUE, &add, sizeof add));
    CHECK(
        !cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    return d;
}

static void test_gemm(const gemm &g, bool with_bias)
{
    const float alpha = 0.5f, beta = 2.0f;
    const matrix ma = shaped(g.ta ? g.K : g.M, g.ta ? g.M : g.K, g.row_order);
    const matrix mb = shaped(g.tb ? g.N : g.K, g.tb ? g.K : g.N, g.row_order);
    const matrix mc = shaped(g.M, g.N, g.row_order);
    Dev<bf16> a(ma.size()), b(mb.size());
    Dev<float> c(mc.size()), bias(g.M);
    a.fill(1), b.fill(1), c.fill(1), bias.fill(1);
    const std::vector<float> before = c.h;
    cublasLtHandle_t lt;
    cublasLtCreate(&lt);
    cublasLtMatmulDesc_t d = description_of(g, with_bias ? bias.d : nullptr);
    cublasLtMatrixLayout_t la = layout_of(ma, CUDA_R_16BF), lb = layout_of(mb, CUDA_R_16BF);
    cublasLtMatrixLayout_t lc = layout_of(mc, CUDA_R_32F);
    CHECK(!cublasLtMatmul(lt, d, &alpha, a.d, la, b.d, lb, &beta, c.d, lc, c.d, lc, nullptr,
                          nullptr, 0, 0));
    for (cublasLtMatrixLayout_t l : { la, lb, lc })
        cublasLtMatrixLayoutDestroy(l);
    cublasLtMatmulDescDestroy(d), cublasLtDestroy(lt);
    c.down();
    std::vector<double> want(before.begin(), before.end()); /* gaps are not touched */
    for (int i = 0; i < g.M; i++)
        for (int j = 0; j < g.N; j++) {
            double s = 0;
            for (int k = 0; k < g.K; k++)
                s += a.h[g.ta ? ma.at(k, i) : ma.at(i, k)].wide() *
                     b.h[g.tb ? mb.at(j, k) : mb.at(k, j)].wide();
            want[mc.at(i, j)] = alpha * s + beta * before[mc.at(i, j)];
            if (with_bias) want[mc.at(i, j)] += bias.h[i];
        }
    double err = 0;
    for (size_t i = 0; i < want.size(); i++)
        err = fmax(err, fabs(want[i] - c.h[i]));
    CHECK(err <= (g.K + 4) * 0x1p-24 * g.K);
}

static void test_gemms()
{
    for (int k = 0; k < 16; k++) {
        const bool row = k & 1, ta = k & 2, tb = k & 4, bias = k & 8;
        test_gemm({ 5, 7, 9, row, ta, tb }, bias);
        test_gemm({ 64, 33, 130, row, ta, tb }, bias);
    }
}

static void test_refused_gemm_says_why()
{
    Dev<float> x(64);
    x.zero();
    const float one = 1;
    cublasLtMatrixLayout_t l = layout_of(shaped(4, 5, true), CUDA_R_32F);
    cublasLtMatmulDesc_t d = description_of({ 4, 4, 5, true, false, false }, nullptr);
    CHECK(cublasLtMatmul(nullptr, d, &one, x.d, l, x.d, l, &one, x.d, l, x.d, l, nullptr, nullptr,
                         0, 0) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(plumb_sim::errors() == 1);
    plumb_sim::forgive();
    cublasLtMatrixLayoutDestroy(l), cublasLtMatmulDescDestroy(d);
}

#ifdef PLUMB_SIM_CHECK
static plumb_sim_counts counted(cudaError_t launched)
{
    CHECK(launched == cudaSuccess);
    return plumb_sim_count_last();
}

static void test_counts()
{
    enum { R = 64, C = 96, BYTES = R * C * 4 };
    Dev<float> x(R * C), y(R * C);
    x.fill(1);
    const dim3 grid(C / 32, R / 32), block(32, 8);
    plumb_sim_count(1);
    plumb_sim_counts c = counted(PLUMB_LAUNCH((transpose<1>), grid, block, 0, 0, x.d, y.d, R, C));
    CHECK(c.load_bytes == BYTES && c.store_bytes == BYTES);
    CHECK(c.load_sectors == BYTES / 32 && c.store_sectors == BYTES / 32);
    CHECK(c.shared_waves == c.shared_ideal && c.barriers == 6);
    c = counted(PLUMB_LAUNCH((transpose<0>), grid, block, 0, 0, x.d, y.d, R, C));
    CHECK(c.shared_waves == c.shared_ideal / 2 * 33); /* column reads: 32 passes each */
    c = counted(PLUMB_LAUNCH(transpose_naive, dim3(R / 32, C / 8), block, 0, 0, x.d, y.d, R, C));
    CHECK(c.load_sectors == R * C && c.store_sectors == BYTES / 32);
    CHECK(c.grid_sectors == 2 * BYTES / 32);
    plumb_sim_count_min(2.0 * (int)BYTES);
    c = counted(PLUMB_LAUNCH((transpose<1>), grid, block, 0, 0, x.d, y.d, R, C));
    CHECK(plumb_sim_count_ratio(&c) == 1.0);
    plumb_sim_count(0);
}
#else
static void test_counts() {}
#endif

int main()
{
    setenv("PLUMB_SIM_DEVICES", "3", 1);
    test_device();
    test_event_between_streams();
    test_missing_event_shows_when_lazy();
    test_graph();
    test_capture_forbids_allocation_and_waiting();
    test_gemms();
    test_refused_gemm_says_why();
    test_counts();
    return selftest_end("runtime, streams, graphs, cuBLASLt");
}
