/* Memory traffic per warp access (sim_count.h). A fiber runs alone until its warp
 * meets, so the accesses of one warp instruction are put together afterwards. A lane's clock is the
 * number of times it has run its most frequent access since the warp was last in step (in a loop:
 * the trip it is in); accesses by the same instruction at the same clock belong together. Exact
 * where the lanes take the same trips through a loop, even when some skip a body by a condition. */
#include "tests/hostcuda/sim_internal.h"
#include <algorithm>
#include <map>
#include <string>
#include <sys/mman.h>
#include <unordered_map>
#include <vector>

namespace plumb_sim
{
struct Group {    /* one warp access */
    uint64_t key; /* clock << 32 | how many before it at that clock */
    uint32_t mask;
    const char *addr[32];
};
struct Trips { /* one instruction, since the warp was in step */
    uint32_t n[32], hint[32];
    uint64_t key[32];
    std::vector<Group> g;
    std::unordered_map<uint64_t, uint32_t> at;
    size_t used = 0;
    Trips() : n(), hint(), key() {}
};
struct WarpLog {
    std::vector<Trips> site;
    std::vector<unsigned> touched;
    uint32_t clock[32] = {};
};
struct Site { /* one instruction of the program */
    const void *pc;
    unsigned size;
    int kind;
    bool shared;
    std::string kernel;
    uint64_t requests, bytes, sectors, waves, ideal;
};
struct Seen {
    uint32_t launch, block, blocks;
}; /* one 32-byte sector, for reads and for writes */

bool count_on = env("PLUMB_SIM_COUNT", 0) != 0;
static std::vector<Site> sites;
static std::unordered_map<const void *, unsigned> site_no;
static std::map<std::string, plumb_sim_counts> kernels;
static plumb_sim_counts now, last, sum;
static std::string name;
static Seen *seen[2];
static std::vector<size_t> touched[2]; /* sectors of this launch */
static uint32_t launch_no, block_no, first_block;
static double next_min;
static const size_t SECTORS = ((size_t)4 << 30) / 32;

static const std::string &name_of(const char *text, const void *kernel)
{
    static std::unordered_map<const void *, std::string> names;
    std::string &known = names[kernel];
    if (known.empty()) {
        char found[200];
        snprintf(found, sizeof found, "%s", text);
        check_name(kernel, found, sizeof found);
        known = found;
    }
    return known;
}
void count_launch(const char *text, const void *kernel)
{
    for (Seen *&s : seen)
        if (!s)
            s = (Seen *)mmap(nullptr, SECTORS * sizeof(Seen), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    name = name_of(text, kernel), now = plumb_sim_counts(), now.launches = 1, launch_no++;
    first_block = block_no + 1;
    for (std::vector<size_t> &t : touched)
        t.clear();
    now.min_bytes = next_min, next_min = 0;
    site_no.clear();
}
void count_block() { block_no++; }
void count_barrier() { now.barriers++; }
void count_access(const Thread *t, const void *p, size_t n, int kind, bool shared, const void *pc)
{
    if (kind >= READ_BYTES) kind -= READ_BYTES;
    const auto id = (const void *)((uintptr_t)pc * 8 + shared * 4 + kind);
    auto found = site_no.find(id);
    if (found == site_no.end()) {
        found = site_no.emplace(id, (unsigned)sites.size()).first;
        sites.push_back(Site{ pc, (unsigned)n, kind, shared, name, 0, 0, 0, 0, 0 });
    }
    if (kind == ATOMIC && !shared) now.atomics++;
    Warp *w = t->warp;
    if (!w->log) w->log = new WarpLog();
    WarpLog *log = w->log;
    if (log->site.size() <= found->second) log->site.resize(found->second + 1);
    Trips &s = log->site[found->second];
    if (!s.used) log->touched.push_back(found->second);
    const unsigned lane = t->lane;
    log->clock[lane] = std::max(log->clock[lane], ++s.n[lane]);
    const uint64_t clock = (uint64_t)log->clock[lane] << 32;
    const uint64_t key = s.key[lane] >> 32 == clock >> 32 ? s.key[lane] + 1 : clock;
    uint32_t k = s.hint[lane]; /* lanes mostly follow one another in step */
    if (k >= s.used || s.g[k].key != key) {
        auto new_group = s.at.emplace(key, (uint32_t)s.used);
        k = new_group.first->second;
        if (new_group.second) {
            if (s.used == s.g.size()) s.g.resize(s.used * 2 + 4);
            s.g[s.used].key = key, s.g[s.used++].mask = 0;
        }
    }
    s.key[lane] = key, s.hint[lane] = k + 1;
    s.g[k].mask |= 1u << lane, s.g[k].addr[lane] = (const char *)p;
}
/* Passes over the 32 banks: 16-byte accesses go 8 lanes at a time, 8-byte 16, narrower all 32; in
 * each pass a bank gives one 4-byte word, to any number of lanes. */
static void shared_waves(const Group &g, unsigned size, Site &s)
{
    const int lanes = size >= 16 ? 8 : size == 8 ? 16 : 32;
    for (int base = 0; base < 32; base += lanes) {
        std::vector<uintptr_t> words;
        for (int i = base; i < base + lanes; i++)
            if (g.mask >> i & 1)
                for (unsigned b = 0; b < size; b += 4)
                    words.push_back(((uintptr_t)g.addr[i] + b) / 4);
        if (words.empty()) continue;
        std::sort(words.begin(), words.end());
        words.erase(std::unique(words.begin(), words.end()), words.end());
        unsigned bank[32] = {}, worst = 0;
        for (uintptr_t w : words)
            worst = std::max(worst, ++bank[w % 32]);
        const uint64_t ideal = (words.size() + 31) / 32;
        s.waves += worst, s.ideal += ideal;
        now.shared_waves += worst, now.shared_ideal += ideal;
    }
}
static void global_sectors(const Group &g, unsigned size, Site &s)
{
    std::vector<size_t> sec;
    std::vector<const char *> a;
    for (int i = 0; i < 32; i++)
        if (g.mask >> i & 1) {
            a.push_back(g.addr[i]);
            const size_t first = arena_offset(g.addr[i]) / 32,
                         end = (arena_offset(g.addr[i]) + size - 1) / 32;
            for (size_t x = first; x <= end; x++)
                sec.push_back(x);
        }
    std::sort(sec.begin(), sec.end());
    sec.erase(std::unique(sec.begin(), sec.end()), sec.end());
    std::sort(a.begin(), a.end());
    uint64_t bytes = 0;
    for (size_t i = 0; i < a.size(); i++)
        bytes += i + 1 < a.size() ? std::min<uint64_t>(size, (uint64_t)(a[i + 1] - a[i])) : size;
    const bool store = s.kind != READ;
    (store ? now.store_bytes : now.load_bytes) += bytes;
    (store ? now.store_sectors : now.load_sectors) += sec.size();
    now.requests++, s.bytes += bytes, s.sectors += sec.size();
    for (size_t x : sec) {
        Seen &v = seen[store][x];
        if (v.launch != launch_no) {
            v = Seen{ launch_no, 0, 0 };
            touched[store].push_back(x);
        }
        if (v.block != block_no) v.block = block_no, v.blocks++;
    }
}
void count_flush(Warp *w)
{
    WarpLog *log = w->log;
    if (!log) return;
    for (unsigned i : log->touched) {
        Trips &t = log->site[i];
        Site &s = sites[i];
        for (size_t k = 0; k < t.used; k++) {
            s.requests++;
            if (s.shared)
                shared_waves(t.g[k], s.size, s);
            else
                global_sectors(t.g[k], s.size, s);
        }
        memset(t.n, 0, sizeof t.n), memset(t.hint, 0, sizeof t.hint),
            memset(t.key, 0, sizeof t.key);
        t.at.clear(), t.used = 0;
    }
    log->touched.clear(), memset(log->clock, 0, sizeof log->clock);
}
static void add(plumb_sim_counts *to, const plumb_sim_counts &c)
{
    to->launches += c.launches, to->load_bytes += c.load_bytes, to->store_bytes += c.store_bytes;
    to->load_sectors += c.load_sectors, to->store_sectors += c.store_sectors;
    to->block_sectors += c.block_sectors, to->grid_sectors += c.grid_sectors;
    to->row_sectors += c.row_sectors;
    to->requests += c.requests, to->atomics += c.atomics;
    to->shared_waves += c.shared_waves, to->shared_ideal += c.shared_ideal;
    to->barriers += c.barriers, to->min_bytes += c.min_bytes;
}
/* Operands that all rows share (weights, tables) are read by every block, from a cache. */
static void sum_sectors()
{
    const uint32_t blocks = block_no - first_block + 1;
    for (int store = 0; store < 2; store++)
        for (size_t x : touched[store]) {
            const uint32_t n = seen[store][x].blocks;
            now.grid_sectors++;
            now.block_sectors += n;
            now.row_sectors += n > 2 && 2 * (uint64_t)n >= blocks ? 1 : n;
        }
}
void count_end()
{
    sum_sectors();
    last = now;
    add(&sum, now);
    add(&kernels[name], now);
}
static struct Report {
    ~Report()
    {
        if (count_on) plumb_sim_count_report();
    }
} at_exit;
} // namespace plumb_sim
using namespace plumb_sim;
int plumb_sim_faults(void) { return errors(); }
bool plumb_sim_counting(void) { return count_on; }
void plumb_sim_count(int on) { count_on = on != 0; }
void plumb_sim_count_min(double bytes) { next_min = bytes; }
struct plumb_sim_counts plumb_sim_count_last(void) { return last; }
void plumb_sim_count_begin(void) { sum = plumb_sim_counts(); }
struct plumb_sim_counts plumb_sim_count_sum(void) { return sum; }
const char *plumb_sim_count_kernel(int index, struct plumb_sim_counts *out)
{
    auto k = kernels.begin();
    for (; k != kernels.end() && index > 0; index--)
        ++k;
    if (k == kernels.end()) return nullptr;
    *out = k->second;
    return k->first.c_str();
}
double plumb_sim_count_ratio(const struct plumb_sim_counts *c)
{
    const double least = c->min_bytes > 0 ? c->min_bytes : 32.0 * (double)c->grid_sectors;
    return least > 0 ? 32.0 * (double)(c->load_sectors + c->store_sectors) / least : 0;
}
void plumb_sim_count_report(void)
{
    printf("%-30s %6s %9s %9s %9s %9s %6s %6s %6s %7s %6s\n%-30s %6s %9s %9s %9s %9s %6s %6s %6s "
           "%7s %6s\n",
           "kernel", "launch", "moved KB", "block KB", "once KB", "min KB", "moved", "block",
           "used", "atomics", "shared", "", "", "", "", "", "", "/min", "/min", "%", "", "x");
    for (auto &k : kernels) {
        const plumb_sim_counts &c = k.second;
        const double moved = 32.0 * (double)(c.load_sectors + c.store_sectors);
        const double least = c.min_bytes > 0 ? c.min_bytes : 32.0 * (double)c.grid_sectors;
        printf("%-30.30s %6llu %9.1f %9.1f %9.1f %9.1f %6.2f %6.2f %6.1f %7llu %6.2f\n",
               k.first.c_str(), (unsigned long long)c.launches, moved / 1024,
               (double)c.block_sectors / 32, (double)c.grid_sectors / 32, least / 1024,
               moved / least, 32.0 * (double)c.block_sectors / least,
               moved ? 100.0 * (double)(c.load_bytes + c.store_bytes) / moved : 0,
               (unsigned long long)c.atomics,
               c.shared_ideal ? (double)c.shared_waves / (double)c.shared_ideal : 0);
    }
    plumb_sim_count_sites();
}
/* One line of the source is often several instructions: the worst stands for it. */
static void print_site(const Site *s, std::map<std::string, int> *lines)
{
    char at[300];
    check_where(s->pc, at, sizeof at);
    if ((*lines)[s->kernel + at]++ || lines->size() > 8) return;
    if (s->shared)
        printf("  %s %s: %u-byte shared %s, %.2f x the passes needed\n", s->kernel.c_str(), at,
               s->size, s->kind == READ ? "read" : "write", (double)s->waves / (double)s->ideal);
    else
        printf("  %s %s: %u-byte %s, %.1f sectors a warp access, %.0f %% of their bytes used\n",
               s->kernel.c_str(), at, s->size,
               s->kind == READ    ? "read"
               : s->kind == WRITE ? "write"
                                  : "atomic",
               (double)s->sectors / (double)s->requests,
               100.0 * (double)s->bytes / (32.0 * (double)s->sectors));
}
void plumb_sim_count_sites(void)
{
    std::vector<const Site *> bad_sites;
    std::map<std::string, int> lines;
    for (const Site &s : sites)
        if (s.shared ? s.waves > s.ideal * 3 / 2 && s.waves > 64
                     : s.sectors * 32 > s.bytes * 3 / 2 && s.sectors > 64)
            bad_sites.push_back(&s);
    std::sort(bad_sites.begin(), bad_sites.end(), [](const Site *a, const Site *b) {
        return a->sectors * 32 - a->bytes + (a->waves - a->ideal) * 32 >
               b->sectors * 32 - b->bytes + (b->waves - b->ideal) * 32;
    });
    if (bad_sites.size() > 32) bad_sites.resize(32);
    for (const Site *s : bad_sites)
        print_site(s, &lines);
}
