/* The cuBLASLt calls of a trainer, on the CPU: D = alpha op(A) op(B) + beta C (+ bias, activation);
 * fp32, bf16 and fp16 matrices, fp32 accumulation in k order (so results do not depend on M, N or
 * the number of workers), row or column order, strided batches. D is rounded once. */
#include "tests/hostcuda/sim_internal.h"
#include <cublasLt.h>
#include <vector>

namespace plumb_sim
{
struct Mat {
    void *p;
    cudaDataType_t type;
    int64_t rows, cols, ld, stride;
    bool row_order, trans;
};
static size_t width(cudaDataType_t t)
{
    return t == CUDA_R_32F ? 4 : t == CUDA_R_16BF || t == CUDA_R_16F ? 2 : 0;
}
static float get(const Mat &m, const char *base, int64_t r, int64_t c)
{
    const size_t i = (size_t)(m.row_order ? r * m.ld + c : c * m.ld + r);
    switch (m.type) {
    case CUDA_R_32F: return ((const float *)base)[i];
    case CUDA_R_16BF: return __bfloat162float(((const __nv_bfloat16 *)base)[i]);
    default: return __half2float(((const __half *)base)[i]);
    }
}
static void put(const Mat &m, char *base, int64_t r, int64_t c, float x)
{
    const size_t i = (size_t)(m.row_order ? r * m.ld + c : c * m.ld + r);
    switch (m.type) {
    case CUDA_R_32F: ((float *)base)[i] = x; break;
    case CUDA_R_16BF: ((__nv_bfloat16 *)base)[i] = __float2bfloat16(x); break;
    default: ((__half *)base)[i] = __float2half(x);
    }
}
/* Every row (or column) of the matrix must lie in device memory; only the touched bytes count. */
static bool span(const char *what, const Mat &m, char *base, bool write)
{
    const int64_t n = m.row_order ? m.rows : m.cols, len = m.row_order ? m.cols : m.rows;
    for (int64_t i = 0; i < n; i++)
        if (!dev_span(what, base + (size_t)(i * m.ld) * width(m.type), (size_t)len * width(m.type),
                      write))
            return false;
    return true;
}
/* The plain triple loop, blocked so that a panel of B stays in cache; k ascends for every one. */
static void multiply(int64_t M, int64_t N, int64_t K, const float *a, const float *b, float *acc)
{
    const int64_t MB = 8, NB = 256;
    parallel((unsigned long)((M + MB - 1) / MB), [&](unsigned long blk) {
        const int64_t i0 = (int64_t)blk * MB, i1 = std::min(M, i0 + MB);
        for (int64_t j0 = 0; j0 < N; j0 += NB) {
            const int64_t j1 = std::min(N, j0 + NB);
            for (int64_t k = 0; k < K; k++)
                for (int64_t i = i0; i < i1; i++) {
                    const float x = a[i * K + k];
                    const float *bk = b + k * N;
                    float *c = acc + i * N;
                    for (int64_t j = j0; j < j1; j++)
                        c[j] += x * bk[j];
                }
        }
    });
}
/* bias: one value per row of D, or NULL. act: 0 none, 1 relu, 2 gelu (tanh). */
static void gemm(Mat A, Mat B, Mat C, Mat D, float alpha, float beta, int64_t batch,
                 const char *bias, cudaDataType_t bias_type, int act)
{
    const int64_t M = D.rows, N = D.cols, K = A.trans ? A.rows : A.cols;
    std::vector<float> a((size_t)(M * K)), b((size_t)(K * N)), acc((size_t)(M * N));
    for (int64_t n = 0; n < batch; n++) {
        char *pa = (char *)A.p + (size_t)(n * A.stride) * width(A.type),
             *pb = (char *)B.p + (size_t)(n * B.stride) * width(B.type);
        char *pc = (char *)C.p + (size_t)(n * C.stride) * width(C.type),
             *pd = (char *)D.p + (size_t)(n * D.stride) * width(D.type);
        if (!span("matmul A", A, pa, false) || !span("matmul B", B, pb, false)) return;
        if (beta != 0 && !span("matmul C", C, pc, false)) return;
        if (!span("matmul D", D, pd, true)) return;
        for (int64_t i = 0; i < M; i++)
            for (int64_t k = 0; k < K; k++)
                a[(size_t)(i * K + k)] = A.trans ? get(A, pa, k, i) : get(A, pa, i, k);
        for (int64_t k = 0; k < K; k++)
            for (int64_t j = 0; j < N; j++)
                b[(size_t)(k * N + j)] = B.trans ? get(B, pb, j, k) : get(B, pb, k, j);
        std::fill(acc.begin(), acc.end(), 0.0f);
        multiply(M, N, K, a.data(), b.data(), acc.data());
        const Mat v = { (void *)bias, bias_type, M, 1, M, 0, false, false };
        for (int64_t i = 0; i < M; i++)
            for (int64_t j = 0; j < N; j++) {
                float x = alpha * acc[(size_t)(i * N + j)];
                if (beta != 0) x += beta * get(C, pc, i, j);
                if (bias) x += get(v, bias, i, 0);
                if (act == 1) x = x > 0 ? x : 0;
                if (act == 2)
                    x = 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
                put(D, pd, i, j, x);
            }
    }
}
static bool good(const Mat &m, const char *name)
{
    const int64_t need = m.row_order ? m.cols : m.rows;
    if (width(m.type) && m.ld >= need && m.p) return true;
    bad("matmul: %s has type %d, leading dimension %ld (needs %ld), pointer %p", name, (int)m.type,
        (long)m.ld, (long)need, m.p);
    return false;
}
struct Desc { /* lives inside the 256-byte opaque descriptor */
    cublasOperation_t ta, tb;
    cublasLtEpilogue_t epilogue;
    cublasLtPointerMode_t mode;
    const void *bias;
    int bias_type; /* -1: that of D */
};
struct Layout { /* lives inside the 64-byte opaque layout */
    uint64_t rows, cols;
    int64_t ld, stride;
    cudaDataType_t type;
    int32_t batch, order;
};
static_assert(sizeof(Desc) <= sizeof(cublasLtMatmulDescOpaque_t), "too large");
static_assert(sizeof(Layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "too large");
static Mat mat_of(const void *p, cublasLtMatrixLayout_t l, bool trans)
{
    const Layout *y = (const Layout *)l;
    return Mat{ (void *)p,
                y->type,
                (int64_t)y->rows,
                (int64_t)y->cols,
                y->ld,
                y->stride,
                y->order == CUBLASLT_ORDER_ROW,
                trans };
}
} // namespace plumb_sim
using namespace plumb_sim;

extern "C" {
const char *cublasGetStatusString(cublasStatus_t s) { return s ? "cuBLAS error" : "success"; }

const char *cublasLtGetStatusString(cublasStatus_t s) { return cublasGetStatusString(s); }
size_t cublasLtGetVersion() { return CUDART_VERSION; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    if (not_while_capturing("cublasLtCreate")) return CUBLAS_STATUS_ALLOC_FAILED;
    return *h = (cublasLtHandle_t) new int(0), CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    return delete (int *)h, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    if (scale != CUDA_R_32F ||
        (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32))
        return bad("cublasLt: only fp32 compute and scale types"), CUBLAS_STATUS_NOT_SUPPORTED;
    *d = new cublasLtMatmulDescOpaque_t();
    *(Desc *)*d = Desc{
        CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_POINTER_MODE_HOST, nullptr, -1
    };
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    return delete d, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t a, const void *v,
                                              size_t)
{
    Desc *q = (Desc *)d;
    switch (a) {
    case CUBLASLT_MATMUL_DESC_TRANSA: q->ta = *(const cublasOperation_t *)v; break;
    case CUBLASLT_MATMUL_DESC_TRANSB: q->tb = *(const cublasOperation_t *)v; break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE: q->epilogue = *(const cublasLtEpilogue_t *)v; break;
    case CUBLASLT_MATMUL_DESC_POINTER_MODE: q->mode = *(const cublasLtPointerMode_t *)v; break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: q->bias = *(void *const *)v; break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: q->bias_type = *(const int *)v; break;
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET: break;
    default:
        return bad("cublasLt: matmul attribute %d is not simulated", (int)a),
               CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    *l = new cublasLtMatrixLayoutOpaque_t();
    *(Layout *)*l = Layout{ rows, cols, ld, 0, type, 1, CUBLASLT_ORDER_COL };
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    return delete l, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                                cublasLtMatrixLayoutAttribute_t a, const void *v,
                                                size_t)
{
    Layout *q = (Layout *)l;
    switch (a) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE: q->type = *(const cudaDataType_t *)v; break;
    case CUBLASLT_MATRIX_LAYOUT_ORDER: q->order = *(const int32_t *)v; break;
    case CUBLASLT_MATRIX_LAYOUT_ROWS: q->rows = *(const uint64_t *)v; break;
    case CUBLASLT_MATRIX_LAYOUT_COLS: q->cols = *(const uint64_t *)v; break;
    case CUBLASLT_MATRIX_LAYOUT_LD: q->ld = *(const int64_t *)v; break;
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: q->batch = *(const int32_t *)v; break;
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: q->stride = *(const int64_t *)v; break;
    default:
        return bad("cublasLt: layout attribute %d is not simulated", (int)a),
               CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    return *p = new cublasLtMatmulPreferenceOpaque_t(), CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    return delete p, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    const void *, size_t)
{
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int want,
                                              cublasLtMatmulHeuristicResult_t *r, int *found)
{
    *found = want > 0;
    if (want > 0) memset((void *)r, 0, sizeof *r);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *A, cublasLtMatrixLayout_t la, const void *B,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *C,
                              cublasLtMatrixLayout_t lc, void *D, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *, void *, size_t, cudaStream_t stream)
{
    const Desc q = *(const Desc *)desc;
    const Mat a = mat_of(A, la, q.ta != CUBLAS_OP_N), b = mat_of(B, lb, q.tb != CUBLAS_OP_N);
    const Mat c = mat_of(C, lc, false), d = mat_of(D, ld, false);
    const int64_t am = a.trans ? a.cols : a.rows, ak = a.trans ? a.rows : a.cols;
    const int64_t bk = b.trans ? b.cols : b.rows, bn = b.trans ? b.rows : b.cols;
    if (am != d.rows || bn != d.cols || ak != bk || c.rows != d.rows || c.cols != d.cols) {
        bad("cublasLtMatmul: op(A) %ldx%ld, op(B) %ldx%ld, D %ldx%ld do not fit", (long)am,
            (long)ak, (long)bk, (long)bn, (long)d.rows, (long)d.cols);
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (!good(a, "A") || !good(b, "B") || !good(d, "D")) return CUBLAS_STATUS_INVALID_VALUE;
    const bool host = q.mode == CUBLASLT_POINTER_MODE_HOST;
    const float al = host ? *(const float *)alpha : 0, be = host ? *(const float *)beta : 0;
    if ((!host || be != 0) && !good(c, "C")) return CUBLAS_STATUS_INVALID_VALUE;
    const int e = q.epilogue, act = (e & ~CUBLASLT_EPILOGUE_BIAS) == CUBLASLT_EPILOGUE_RELU   ? 1
                                    : (e & ~CUBLASLT_EPILOGUE_BIAS) == CUBLASLT_EPILOGUE_GELU ? 2
                                                                                              : 0;
    if (e != CUBLASLT_EPILOGUE_DEFAULT && e != CUBLASLT_EPILOGUE_BIAS && !act)
        return bad("cublasLt: epilogue %d is not simulated", e), CUBLAS_STATUS_NOT_SUPPORTED;
    const char *bias = e & CUBLASLT_EPILOGUE_BIAS ? (const char *)q.bias : nullptr;
    const cudaDataType_t bt = q.bias_type == -1 ? d.type : (cudaDataType_t)q.bias_type;
    const int batch = ((const Layout *)ld)->batch;
    enqueue(stream, [=] {
        gemm(a, b, c, d, host ? al : *(const float *)alpha, host ? be : *(const float *)beta, batch,
             bias, bt, act);
    });
    return CUBLAS_STATUS_SUCCESS;
}
}
