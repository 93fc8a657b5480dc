#include "extensions/common/metadata_matcher.h"

#include <doctest/doctest.h>

using namespace sluice;
using extensions::MetadataMatcher;
using extensions::ValueMatcher;
using Kind = ValueMatcher::Kind;

namespace {

ext::Metadata sample() {
  return {{"ns",
           {{"text", "\"a\\\"b\""},
            {"number", "2.5"},
            {"whole", "7"},
            {"yes", "true"},
            {"null", "null"},
            {"list", R"(["x", 1, true])"},
            {"tree", R"({"a": {"b": "deep"}})"}}}};
}

bool holds(std::vector<std::string> path, ValueMatcher value, bool invert = false, const char* ns = "ns") {
  const ext::Metadata m = sample();
  return MetadataMatcher{ns, std::move(path), std::move(value), invert}.matches(&m);
}

ValueMatcher text(std::string exact) {
  ValueMatcher m{.kind = Kind::string};
  m.string.text = std::move(exact);
  return m;
}
ValueMatcher is(Kind kind, bool expected = true) {
  return {.kind = kind, .expected = expected};
}
ValueMatcher within(double begin, double end) {
  return {.kind = Kind::number, .begin = begin, .end = end};
}
ValueMatcher of(Kind kind, std::vector<ValueMatcher> values) {
  return {.kind = kind, .values = std::move(values)};
}

}  // namespace

TEST_CASE("metadata matcher: kinds of values") {
  CHECK(holds({"text"}, text("a\"b")));
  CHECK_FALSE(holds({"text"}, text("a")));
  CHECK_FALSE(holds({"number"}, text("2.5")));
  CHECK(holds({"number"}, within(2.5, 3)));
  CHECK_FALSE(holds({"number"}, within(2, 2.5)));
  CHECK(holds({"whole"}, {.kind = Kind::number, .exact = true, .begin = 7}));
  CHECK_FALSE(holds({"text"}, within(0, 100)));
  CHECK(holds({"yes"}, is(Kind::boolean)));
  CHECK_FALSE(holds({"yes"}, is(Kind::boolean, false)));
  CHECK(holds({"null"}, is(Kind::null)));
  CHECK_FALSE(holds({"text"}, is(Kind::null)));
  CHECK(holds({"null"}, is(Kind::present)));
  CHECK_FALSE(holds({"text"}, is(Kind::present, false)));
}

TEST_CASE("metadata matcher: lists, alternatives, paths") {
  CHECK(holds({"list"}, of(Kind::list, {text("x")})));
  CHECK(holds({"list"}, of(Kind::list, {is(Kind::boolean)})));
  CHECK_FALSE(holds({"list"}, of(Kind::list, {text("y")})));
  CHECK_FALSE(holds({"list"}, of(Kind::list, {})));
  CHECK_FALSE(holds({"list"}, text("x")));
  CHECK_FALSE(holds({"text"}, of(Kind::list, {text("a\"b")})));
  CHECK(holds({"whole"}, of(Kind::any_of, {text("x"), within(7, 8)})));
  CHECK_FALSE(holds({"whole"}, of(Kind::any_of, {text("x"), within(8, 9)})));
  CHECK(holds({"tree", "a", "b"}, text("deep")));
  CHECK(holds({"tree", "a"}, is(Kind::present)));
  CHECK_FALSE(holds({"tree", "b"}, is(Kind::present)));
  CHECK_FALSE(holds({"text", "a"}, is(Kind::present)));
}

TEST_CASE("metadata matcher: what is not there matches nothing, and its contrary always") {
  for (const ValueMatcher& m : {text(""), is(Kind::null), is(Kind::present), is(Kind::present, false),
                                is(Kind::boolean, false), of(Kind::any_of, {text(""), is(Kind::null)})}) {
    CHECK_FALSE(holds({"none"}, m));
    CHECK(holds({"none"}, m, true));
    CHECK_FALSE(holds({"text"}, m, false, "other"));
    CHECK_FALSE(MetadataMatcher{"ns", {"a"}, m}.matches(nullptr));
  }
}
