// Token merging against plain loops: which tokens merge, averages, the way back.
#include "check.h"

#include <algorithm>
#include <cmath>

using namespace check;

namespace {

struct MergeTest {
    Isa isa;
    Random random{};

    // Of a source: its most similar target's likeness, and that of the target that it has.
    struct Source {
        double best, own;
        bool merged;
    };

    void merging(int64_t n, int64_t w, int64_t h, int64_t c, int64_t merged) {
        const std::string name = std::string("merging ") + isa_name(isa) + " " + shape({n, w, h, c, merged});
        const int64_t length = w * h, kept = length - merged, size = 2 * length + kept + 1;
        const Floats x = random.floats(n * length * c), add = random.floats(n * length * c);
        Floats plan(size_t(n * size), kGuard), left(size_t(n * kept * c), kGuard), all(add.size(), kGuard);
        MergePlan p;
        p.x = x.data(), p.n = n, p.width = w, p.height = h, p.c = c, p.merged = merged, p.y = plan.data();
        p.isa = isa;
        run_twice(p, plan, name);
        for (int64_t i = 0; i < n; i++) {
            check_plan(x.data() + i * length * c, w, h, c, plan.data() + i * size, merged, name);
        }
        MergeTokens m;
        m.x = x.data(), m.plan = plan.data(), m.n = n, m.length = length, m.c = c, m.merged = merged;
        m.y = left.data(), m.isa = isa;
        run_twice(m, left, name);
        UnmergeTokens u;
        u.x = left.data(), u.plan = plan.data(), u.add = add.data(), u.n = n, u.length = length, u.c = c;
        u.merged = merged, u.y = all.data(), u.isa = isa;
        run_twice(u, all, name);
        Doubles averages(left.size()), back(all.size());
        for (int64_t i = 0; i < n; i++) {
            const float *slot = plan.data() + i * size;
            Doubles counts(static_cast<size_t>(kept));
            for (int64_t t = 0; t < length; t++) {
                counts[size_t(slot[t])]++;
            }
            for (int64_t t = 0; t < length * c; t++) {
                averages[size_t((i * kept + int64_t(slot[t / c])) * c + t % c)] +=
                    double(x[size_t(i * length * c + t)]) / counts[size_t(slot[t / c])];
            }
            for (int64_t t = 0; t < length * c; t++) {
                back[size_t(i * length * c + t)] =
                    averages[size_t((i * kept + int64_t(slot[t / c])) * c + t % c)] +
                    double(add[size_t(i * length * c + t)]);
            }
        }
        compare(left.data(), averages, 1e-6, name);
        compare(all.data(), back, 1e-6, name);
    }

    static double likeness(const float *a, const float *b, int64_t c) {
        double ab = 0, aa = 0, bb = 0;
        for (int64_t k = 0; k < c; k++) {
            ab += double(a[k]) * double(b[k]), aa += double(a[k]) * double(a[k]);
            bb += double(b[k]) * double(b[k]);
        }
        return ab / std::sqrt(aa * bb);
    }

    // The sources that merge are the most similar ones, each merges with the target that it is
    // most like, and the plan's lists go together. Equal but for rounding is as good.
    static void check_plan(const float *x, int64_t w, int64_t h, int64_t c, const float *plan, int64_t merged,
                           const std::string &name) {
        const int64_t length = w * h, kept = length - merged;
        const float *slot = plan, *order = plan + length, *start = order + length;
        std::vector<int64_t> targets, sources;
        for (int64_t i = 0; i < length; i++) {
            const bool target = i % w % 2 == 0 && i / w % 2 == 0 && i % w + 1 < w && i / w + 1 < h;
            (target ? targets : sources).push_back(i);
        }
        std::vector<int64_t> members(static_cast<size_t>(kept));
        for (int64_t i = 0; i < length; i++) {
            expect(slot[i] >= 0 && slot[i] < float(kept), "no such slot", name);
            members[size_t(slot[i])]++;
        }
        for (int64_t s = 0; s < kept; s++) {
            expect(members[size_t(s)] == int64_t(start[s + 1] - start[s]),
                   "a slot's tokens are not all listed", name);
            for (int64_t k = int64_t(start[s]); k < int64_t(start[s + 1]); k++) {
                expect(slot[int64_t(order[k])] == float(s), "listed in another slot", name);
            }
        }
        std::vector<Source> found;
        int64_t merging = 0;
        for (int64_t i : sources) {
            Source s{-2, -2, false};
            for (int64_t t : targets) {
                const double like = likeness(x + i * c, x + t * c, c);
                s.best = std::max(s.best, like);
                if (slot[t] == slot[i]) {
                    s.own = like, s.merged = true;
                }
            }
            merging += s.merged;
            found.push_back(s);
        }
        expect(merging == merged, "not as many merge as were asked for", name);
        double least = 2, most = -2;
        for (const Source &s : found) {
            expect(!s.merged || s.own > s.best - 1e-5, "merges with another than the most similar", name);
            (s.merged ? least : most) = s.merged ? std::min(least, s.best) : std::max(most, s.best);
        }
        expect(least > most - 1e-5, "others are more alike than those that merge", name);
    }
};

} // namespace

void test_merging(Isa isa) {
    MergeTest t{isa};
    for (int i = 0; i < 12; i++) {
        const int64_t w = t.random.between(2, 12), h = t.random.between(2, 12);
        const int64_t sources = w * h - w / 2 * (h / 2);
        t.merging(t.random.between(1, 3), w, h, t.random.between(1, 90), t.random.between(1, int(sources)));
    }
    report(isa, "merging");
}
