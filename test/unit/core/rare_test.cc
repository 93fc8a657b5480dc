#include "core/rare.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace sluice {
namespace {

struct Settings {
  int limit = 7;
  std::vector<std::string> names = {};
};

TEST_CASE("what was never written to reads as the default, and takes a pointer's room") {
  static_assert(sizeof(Rare<Settings>) == sizeof(void*));
  const Rare<Settings> none;
  CHECK_FALSE(none);
  CHECK(none->limit == 7);
  CHECK((*none).names.empty());
  CHECK(&*none == &*Rare<Settings>());  // one for all
}

TEST_CASE("what is written stays, in its own") {
  Rare<Settings> a;
  a.edit().names.push_back("x");
  CHECK(a);
  CHECK(a->limit == 7);
  a.edit().limit = 1;  // the same again
  CHECK(a->names == std::vector<std::string>{"x"});

  Rare<Settings> b = a;
  b.edit().limit = 2;
  CHECK(a->limit == 1);
  CHECK(b->names == a->names);

  const Rare<Settings> c = std::move(b);
  CHECK(c->limit == 2);
  a = c;
  CHECK(a->limit == 2);
  a = Rare<Settings>();
  CHECK_FALSE(a);
  a = Settings{.limit = 3};
  CHECK(a->limit == 3);
  CHECK(Rare<Settings>()->limit == 7);
}

}  // namespace
}  // namespace sluice
