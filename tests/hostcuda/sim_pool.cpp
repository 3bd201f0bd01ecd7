/* The worker threads: parallel(n, f) calls f(0) ... f(n-1), each once, in any order. The
 * sanitised and the checking build have one worker, the caller. */
#include "tests/hostcuda/sim_internal.h"
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace plumb_sim
{
static struct Pool {
    std::mutex mu;
    std::condition_variable go, done;
    std::vector<std::thread> th;
    const std::function<void(unsigned long)> *f = nullptr;
    std::atomic<unsigned long> next{ 0 };
    unsigned long n = 0;
    unsigned round = 0, busy = 0;
    bool stop = false;

    void work()
    {
        for (unsigned long i; (i = next++) < n;)
            (*f)(i);
    }
    void loop()
    {
        unsigned seen = 0;
        std::unique_lock<std::mutex> l(mu);
        for (;;) {
            go.wait(l, [&] { return stop || round != seen; });
            if (stop) return;
            seen = round;
            l.unlock();
            work();
            l.lock();
            if (--busy == 0) done.notify_one();
        }
    }
    ~Pool()
    {
        {
            std::lock_guard<std::mutex> l(mu);
            stop = true;
        }
        go.notify_all();
        for (auto &t : th)
            t.join();
    }
} pool;
static std::mutex pool_mu;
void parallel(unsigned long n, const std::function<void(unsigned long)> &f)
{
#if defined(PLUMB_SIM_ASAN) || defined(PLUMB_SIM_CHECK)
    const unsigned workers = 1;
#else
    static const unsigned workers = env("PLUMB_SIM_WORKERS", std::thread::hardware_concurrency());
#endif
    if (n < 2 || workers < 2) {
        for (unsigned long i = 0; i < n; i++)
            f(i);
        return;
    }
    std::lock_guard<std::mutex> one(pool_mu);
    {
        std::lock_guard<std::mutex> l(pool.mu);
        while (pool.th.size() + 1 < workers)
            pool.th.emplace_back([] { pool.loop(); });
        pool.f = &f, pool.n = n, pool.next = 0, pool.busy = (unsigned)pool.th.size(), pool.round++;
    }
    pool.go.notify_all();
    pool.work();
    std::unique_lock<std::mutex> l(pool.mu);
    pool.done.wait(l, [] { return pool.busy == 0; });
}
} // namespace plumb_sim
