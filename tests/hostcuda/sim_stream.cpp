/* Streams, events and graphs. All work is done at once, unless PLUMB_SIM_LAZY=1: then work on a
 * created stream is put off until something waits for it, the latest moment that CUDA allows, so
 * that a missing event wait, a host buffer read or reused too early and a free of memory in use
 * give wrong results or reports. The NULL stream waits for all blocking streams of its device.
 * A stream that is being captured runs nothing: its work becomes a graph. */
#include "tests/hostcuda/sim_internal.h"
#include <chrono>
#include <deque>
#include <mutex>

typedef std::vector<std::function<void()>> Work;
struct CUstream_st {
    std::recursive_mutex mu;
    std::deque<std::function<void()>> q;
    bool blocking;
    int device;
    CUgraph_st *graph; /* being captured into, or NULL */
};
struct CUevent_st {
    double ms;
    CUstream_st *stream; /* of the last record not yet run */
    long pending;
    CUgraph_st *graph; /* recorded in a capture */
};
struct CUgraph_st {
    Work work;
    CUstream_st *origin;
    bool broken; /* a forbidden call was made meanwhile */
};
struct CUgraphExec_st {
    Work work;
};

namespace plumb_sim
{
static std::mutex mu;
static std::vector<CUstream_st *> streams;
static std::vector<CUgraph_st *> captures;
static const bool lazy = env("PLUMB_SIM_LAZY", 0) != 0;

static bool run_one(CUstream_st *s)
{
    std::lock_guard<std::recursive_mutex> g(s->mu);
    if (s->q.empty()) return false;
    const std::function<void()> f = std::move(s->q.front());
    s->q.pop_front();
    f();
    return true;
}

static void drain(CUstream_st *s)
{
    while (run_one(s)) {
    }
}

void drain_all(bool blocking_only)
{
    std::vector<CUstream_st *> all;
    {
        std::lock_guard<std::mutex> g(mu);
        all = streams;
    }
    for (CUstream_st *s : all)
        if (s->device == current_device() && (!blocking_only || s->blocking)) drain(s);
}

static cudaStream_t plain(cudaStream_t s)
{
    return s == cudaStreamLegacy || s == cudaStreamPerThread ? nullptr : s;
}

void enqueue(cudaStream_t stream, std::function<void()> f)
{
    CUstream_st *s = plain(stream);
    if (s && s->graph) {
        s->graph->work.push_back(std::move(f));
    } else if (!s && not_while_capturing("work on the NULL stream")) {
        return;
    } else if (!lazy) {
        f();
    } else if (!s) {
        drain_all(true);
        f();
    } else {
        std::lock_guard<std::recursive_mutex> g(s->mu);
        s->q.push_back(std::move(f));
    }
}

cudaError_t not_while_capturing(const char *what)
{
    std::lock_guard<std::mutex> g(mu);
    if (captures.empty()) return cudaSuccess;
    fprintf(stderr, "[cuda-sim] %s is not allowed while a stream is being captured\n", what);
    for (CUgraph_st *c : captures)
        c->broken = true;
    return set_error(cudaErrorStreamCaptureUnsupported);
}

static double now_ms()
{
    return std::chrono::duration<double, std::milli>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

static void finish(CUevent_st *e)
{
    while (e->pending > 0 && e->stream && run_one(e->stream)) {
    }
}
} // namespace plumb_sim
using namespace plumb_sim;

extern "C" {
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    *s = new CUstream_st;
    (*s)->blocking = !(flags & cudaStreamNonBlocking), (*s)->device = current_device();
    (*s)->graph = nullptr;
    std::lock_guard<std::mutex> g(mu);
    streams.push_back(*s);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithFlags(s, 0); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(s, flags);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    CUstream_st *s = plain(stream);
    if (const cudaError_t e = not_while_capturing("waiting for a stream")) return e;
    if (s)
        drain(s);
    else
        drain_all(true);
    return cudaPeekAtLastError();
}
cudaError_t cudaStreamQuery(cudaStream_t s)
{
    if (const cudaError_t e = not_while_capturing("asking a stream whether it is done")) return e;
    return !plain(s) || s->q.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    drain(s);
    std::lock_guard<std::mutex> g(mu);
    streams.erase(std::find(streams.begin(), streams.end(), s));
    delete s;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new CUevent_st{ 0, nullptr, 0, nullptr };
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    e->graph = plain(s) ? s->graph : nullptr;
    if (e->graph) return cudaSuccess; /* the graph's work is in order anyway */
    e->stream = plain(s), e->pending++;
    enqueue(s, [=] { e->ms = now_ms(), e->pending--; });
    return cudaSuccess;
}
/* Waiting for an event of a capture draws the stream into that capture. */
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    if (e->graph && !plain(s)) return not_while_capturing("the NULL stream in a capture");
    if (e->graph)
        s->graph = e->graph;
    else
        enqueue(s, [=] { finish(e); });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    if (const cudaError_t bad_call = not_while_capturing("waiting for an event")) return bad_call;
    return finish(e), cudaPeekAtLastError();
}
cudaError_t cudaEventQuery(cudaEvent_t e) { return e->pending ? cudaErrorNotReady : cudaSuccess; }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b)
{
    if (a->pending || b->pending) return cudaErrorNotReady;
    return *ms = (float)(b->ms - a->ms), cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    finish(e);
    delete e;
    return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void *arg)
{
    enqueue(s, [=] { f(arg); });
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
    if (!plain(s)) return not_while_capturing("capturing the NULL stream");
    if (s->graph) return set_error(cudaErrorInvalidValue);
    std::lock_guard<std::mutex> g(mu);
    s->graph = new CUgraph_st{ {}, s, false };
    captures.push_back(s->graph);
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
    std::lock_guard<std::mutex> g(mu);
    CUgraph_st *c = s ? s->graph : nullptr;
    *graph = nullptr;
    if (!c || c->origin != s) return set_error(cudaErrorInvalidValue);
    for (CUstream_st *other : streams)
        if (other->graph == c) other->graph = nullptr;
    captures.erase(std::find(captures.begin(), captures.end(), c));
    if (c->broken) return delete c, set_error(cudaErrorStreamCaptureInvalidated);
    *graph = c;
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus *status)
{
    *status = !plain(s) || !s->graph ? cudaStreamCaptureStatusNone
              : s->graph->broken     ? cudaStreamCaptureStatusInvalidated
                                     : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    *exec = new CUgraphExec_st{ graph->work };
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s)
{
    const Work work = exec->work;
    enqueue(s, [=] {
        for (const std::function<void()> &f : work)
            f();
    });
    return cudaPeekAtLastError();
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) { return delete exec, cudaSuccess; }
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
}
