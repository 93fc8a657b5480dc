#include "io/timers.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/random.h"

using namespace sluice;
using namespace sluice::io;

namespace {

MonotonicTime at(int64_t ns) {
  return MonotonicTime(Duration(ns));
}

struct Alarm {
  Alarm(Timers& timers, std::vector<Alarm*>& f)
      : fired(f),
        timer(
            timers,
            [](Timer& t) {
              auto* a = t.owner<Alarm>();
              a->fired.push_back(a);
              if (a->rearm >= 0) t.arm(at(a->rearm));
              if (a->victim) a->victim->cancel();
            },
            this) {}
  std::vector<Alarm*>& fired;
  int64_t rearm = -1;
  Timer* victim = nullptr;
  Timer timer;
};

}  // namespace

TEST_CASE("timers against a model, random operations") {
  const uint64_t seed = 20261;
  CAPTURE(seed);
  Random random(seed);
  for (int round = 0; round < 50; ++round) {
    Timers timers;
    std::vector<Alarm*> fired;
    std::vector<std::unique_ptr<Alarm>> alarms;
    for (int i = 0; i < 60; ++i) alarms.push_back(std::make_unique<Alarm>(timers, fired));
    std::vector<int64_t> model(alarms.size(), -1);  // deadline, -1: idle
    int64_t now = 0;
    for (int step = 0; step < 400; ++step) {
      size_t i = random.below(alarms.size());
      switch (random.below(5)) {
        case 0:
        case 1:
        case 2:
          model[i] = now + 1 + static_cast<int64_t>(random.below(50));
          alarms[i]->timer.arm(at(model[i]));
          break;
        case 3:
          if (random.chance(1, 4)) {
            alarms[i] = std::make_unique<Alarm>(timers, fired);  // destroys an armed one
          } else {
            alarms[i]->timer.cancel();
          }
          model[i] = -1;
          break;
        case 4: {
          now += static_cast<int64_t>(random.below(20));
          fired.clear();
          timers.run(at(now));
          int64_t last = 0;
          for (Alarm* a : fired) {
            auto it = std::find_if(alarms.begin(), alarms.end(), [&](auto& p) { return p.get() == a; });
            auto k = static_cast<size_t>(it - alarms.begin());
            REQUIRE(model[k] >= 0);
            REQUIRE(model[k] <= now);
            REQUIRE(model[k] >= last);
            last = model[k];
            model[k] = -1;
          }
          break;
        }
      }
      int64_t next = -1;
      size_t armed = 0;
      for (size_t k = 0; k < model.size(); ++k) {
        REQUIRE(alarms[k]->timer.armed() == (model[k] >= 0));
        if (model[k] < 0) continue;
        ++armed;
        next = next < 0 ? model[k] : std::min(next, model[k]);
      }
      REQUIRE(timers.size() == armed);
      REQUIRE(timers.next() == (next < 0 ? MonotonicTime::max() : at(next)));
    }
  }
}

TEST_CASE("a timer armed in a callback waits for the next run, whatever its deadline") {
  Timers timers;
  std::vector<Alarm*> fired;
  Alarm a(timers, fired), b(timers, fired);
  a.rearm = 3;  // in the past when it fires
  a.timer.arm(at(5));
  b.timer.arm(at(6));
  timers.run(at(10));
  CHECK(fired == std::vector<Alarm*>{&a, &b});
  a.rearm = -1;
  CHECK(timers.next() > at(10));
  timers.run(timers.next());
  CHECK(fired == std::vector<Alarm*>{&a, &b, &a});
  CHECK(timers.size() == 0);
}

TEST_CASE("a callback may cancel another timer that is due as well") {
  Timers timers;
  std::vector<Alarm*> fired;
  Alarm a(timers, fired), b(timers, fired), c(timers, fired);
  a.victim = &b.timer;
  a.timer.arm(at(1));
  b.timer.arm(at(2));
  c.timer.arm(at(3));
  timers.run(at(10));
  CHECK(fired == std::vector<Alarm*>{&a, &c});
}
