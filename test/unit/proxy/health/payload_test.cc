#include "proxy/health/payload.h"

#include <doctest/doctest.h>

#include "core/random.h"

using namespace sluice;
using health::PayloadSearch;

namespace {

struct Search {
  explicit Search(model::PayloadPattern p, uint64_t limit = 0)
      : pattern(std::move(p)), search(pattern, limit) {}
  Search& feed(std::string_view bytes) {
    Buffer b;
    b.append(pool, bytes);
    search.feed(b);
    return *this;
  }
  BlockPool pool;
  const model::PayloadPattern pattern;
  PayloadSearch search;
};

bool in_order(const model::PayloadPattern& pattern, const std::string& text) {
  size_t from = 0;
  for (const std::string& p : pattern) {
    const size_t at = text.find(p, from);
    if (at == std::string::npos) return false;
    from = at + p.size();
  }
  return true;
}

}  // namespace

TEST_CASE("payload: strings in their order, with anything between them, however they come") {
  CHECK(Search({}).search.found());
  CHECK(Search({"ab"}).feed("xxabxx").search.found());
  CHECK(Search({"ab"}).feed("xxa").feed("b").search.found());
  CHECK_FALSE(Search({"ab"}).feed("xxa").feed("xb").search.found());
  CHECK(Search({"one", "two"}).feed("..one..two..").search.found());
  CHECK_FALSE(Search({"one", "two"}).feed("two one").search.found());
  // No byte counts twice.
  CHECK_FALSE(Search({"aa", "aa"}).feed("aaa").search.found());
  CHECK(Search({"aa", "aa"}).feed("aaa").feed("a").search.found());
}

TEST_CASE("payload: no more is looked at than the limit allows") {
  CHECK(Search({"end"}, 6).feed("abcend").search.found());
  CHECK_FALSE(Search({"end"}, 5).feed("abcend").search.found());
  CHECK_FALSE(Search({"end"}, 5).feed("abc").feed("end").search.found());
  Search again({"end"}, 3);
  again.feed("abcend").search.restart();
  CHECK(again.feed("end").search.found());
}

TEST_CASE("payload: the same as a search in the whole text, in random pieces") {
  const uint64_t seed = random_seed();
  INFO("seed " << seed);
  Random random(seed);
  auto word = [&](size_t length) {
    std::string out;
    for (size_t i = 0; i < length; ++i) out += static_cast<char>('a' + random.below(2));
    return out;
  };
  for (int round = 0; round < 2000; ++round) {
    model::PayloadPattern pattern;
    for (uint64_t n = random.below(4); n > 0; --n) pattern.push_back(word(1 + random.below(4)));
    const std::string text =
        word(random.below(12)) + (round % 50 == 0 ? std::string(9000, 'c') : "") + word(random.below(12));
    Search s(pattern);
    for (size_t at = 0; at < text.size();) {
      const size_t n = std::min<size_t>(text.size() - at, 1 + random.below(5000));
      s.feed(std::string_view(text).substr(at, n));
      at += n;
    }
    REQUIRE(s.search.found() == in_order(pattern, text));
  }
}
