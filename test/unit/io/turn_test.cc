// The order within a turn, and what other threads may do, on every backend.
#include <thread>

#include "test/unit/io/rig.h"

using namespace sluice;
using namespace sluice::io;

namespace {

struct Hook {
  Hook(std::string& l, char n) : log(l), name(n) {}
  std::string& log;
  char name;
  Loop* again = nullptr;      // schedules `next` when it runs
  TurnEnd* next = nullptr;
  TurnEnd hook{[](TurnEnd& h) {
                 auto* self = h.owner<Hook>();
                 self->log += self->name;
                 if (self->next) self->again->schedule(*self->next);
               },
               this};
};

}  // namespace

SLUICE_EACH_BACKEND("timers run in order of deadline, not before, and wake a loop that sleeps") {
  Rig rig(Backend::make());
  std::string log;
  struct T {
    T(Loop& l, std::string& s, char n) : log(s), name(n), timer(l.timers(), fire, this) {}
    static void fire(Timer& t) { t.owner<T>()->log += t.owner<T>()->name; }
    std::string& log;
    char name;
    Timer timer;
  };
  T a(*rig.loop, log, 'a'), b(*rig.loop, log, 'b'), c(*rig.loop, log, 'c'), d(*rig.loop, log, 'd');
  rig.loop->run_once(Duration(0));
  const MonotonicTime start = rig.loop->now();
  c.timer.arm(start + std::chrono::milliseconds(15));
  a.timer.arm(start + std::chrono::milliseconds(5));
  d.timer.arm(start + std::chrono::milliseconds(2));
  b.timer.arm(start + std::chrono::milliseconds(10));
  d.timer.cancel();
  while (log.size() < 3) {
    rig.loop->run_once(std::chrono::seconds(30));
    if (!log.empty() && log.back() == 'a') CHECK(rig.loop->now() >= start + std::chrono::milliseconds(5));
  }
  CHECK(log == "abc");
  CHECK(rig.loop->now() >= start + std::chrono::milliseconds(15));
  CHECK(rig.loop->now() < start + std::chrono::seconds(10));
}

SLUICE_EACH_BACKEND("hooks: after callbacks, each once, in order; those they schedule in the same turn") {
  Rig rig(Backend::make());
  std::string log;
  Hook a(log, 'a'), b(log, 'b'), c(log, 'c');
  rig.loop->schedule(b.hook);
  rig.loop->schedule(a.hook);
  rig.loop->schedule(b.hook);
  a.again = rig.loop.get();
  a.next = &c.hook;
  rig.loop->run_once(std::chrono::seconds(30));
  CHECK(log == "bac");
  CHECK_FALSE(a.hook.scheduled());
}

SLUICE_EACH_BACKEND(
    "hooks: one that schedules itself runs once a turn, and the loop does not sleep over it") {
  Rig rig(Backend::make());
  std::string log;
  Hook a(log, 'a'), b(log, 'b');
  a.again = b.again = rig.loop.get();
  a.next = &b.hook;  // a → b → a → ...
  b.next = &a.hook;
  rig.loop->schedule(a.hook);
  rig.loop->run_once(std::chrono::seconds(30));
  CHECK(log == "ab");
  rig.loop->run_once(std::chrono::seconds(30));
  CHECK(log == "abab");
  b.next = nullptr;
  rig.loop->run_once(std::chrono::seconds(30));
  CHECK(log == "ababab");
  rig.loop->run_once(Duration(0));
  CHECK(log == "ababab");
}

SLUICE_EACH_BACKEND("hooks: one that is destroyed does not run") {
  Rig rig(Backend::make());
  std::string log;
  auto a = std::make_unique<Hook>(log, 'a');
  auto b = std::make_unique<Hook>(log, 'b');
  auto c = std::make_unique<Hook>(log, 'c');
  rig.loop->schedule(a->hook);
  rig.loop->schedule(b->hook);
  rig.loop->schedule(c->hook);
  b.reset();
  c.reset();
  rig.loop->run_once(Duration(0));
  CHECK(log == "a");
}

SLUICE_EACH_BACKEND("the order of a turn: completions, timers, hooks, inbox, hooks, deletes") {
  Rig rig(Backend::make());
  auto [x, y] = rig.connect();
  std::string log;
  struct State {
    Loop& loop;
    std::string& log;
    Hook first, second;
    Timer timer;
    Op op;
    State(Loop& l, std::string& s)
        : loop(l),
          log(s),
          first(s, 'h'),
          second(s, 'H'),
          timer(
              l.timers(), [](Timer& t) { t.owner<State>()->log += 't'; }, this),
          op([](Op& o, Completion& c) { o.owner<State>()->received(c); }, this) {}
    void received(Completion& c) {
      log += 'c';
      loop.schedule(first.hook);
      timer.arm(loop.now());
      struct Last : Deferred {
        explicit Last(std::string& s) : log(s) {}
        ~Last() override { log += 'd'; }
        std::string& log;
      };
      loop.defer_delete(std::make_unique<Last>(log));
      loop.post([this] {
        log += 'p';
        loop.schedule(second.hook);
      });
    }
  } state(*rig.loop, log);
  rig.loop->recv(state.op, y);
  CHECK(rig.send(x, "go") == 2);
  CHECK(rig.until([&] { return !log.empty(); }));
  CHECK(log == "cthpHd");
}

SLUICE_EACH_BACKEND("an object may have itself deleted from its own callback") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  bool gone = false;
  struct Owner : Deferred {
    Owner(Loop& l, bool& g) : loop(l), gone(g) {}
    ~Owner() override { gone = true; }
    Loop& loop;
    bool& gone;
    Op op{[](Op& o, Completion&) {
            auto* self = o.owner<Owner>();
            self->loop.defer_delete(std::unique_ptr<Owner>(self));
            CHECK_FALSE(self->gone);
          },
          this};
  };
  auto* owner = new Owner(*rig.loop, gone);
  rig.loop->recv(owner->op, b);
  rig.close(a);
  CHECK(rig.until([&] { return gone; }));
}

SLUICE_EACH_BACKEND("what is left when the loop goes is freed, not run") {
  bool freed = false, ran = false;
  struct Thing : Deferred {
    explicit Thing(bool& f) : freed(f) {}
    ~Thing() override { freed = true; }
    bool& freed;
  };
  std::string log;
  Hook hook(log, 'x');
  {
    auto loop = Backend::make();
    loop->defer_delete(std::make_unique<Thing>(freed));
    loop->post([&ran] { ran = true; });
    loop->schedule(hook.hook);
  }
  CHECK(freed);
  CHECK_FALSE(ran);
  CHECK(log.empty());
  CHECK_FALSE(hook.hook.scheduled());
}
