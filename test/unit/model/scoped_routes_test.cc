#include "model/scoped_routes.h"

#include <doctest/doctest.h>

namespace sluice::model {
namespace {

using Pair = ScopeKeyFragment::Pair;

std::string key_of(const std::vector<ScopeKeyFragment>& parts,
                   std::initializer_list<std::pair<std::string_view, std::string_view>> headers) {
  http::HeaderMap map;
  for (const auto& [name, value] : headers) map.add(name, value);
  std::string key = "left over";
  return make_scope_key(parts, map, key) ? key : "none";
}

std::string key(std::initializer_list<std::string_view> fragments) {
  std::string out;
  for (std::string_view f : fragments) add_to_scope_key(f, out);
  return out;
}

TEST_CASE("scope keys: fragments are kept apart") {
  CHECK(key({"a", "b"}) != key({"ab"}));
  CHECK(key({"a", "b"}) != key({"a", "", "b"}));
  CHECK(key({"", "a"}) != key({"a", ""}));
  CHECK(key({"1:a"}) != key({"", "a"}));
  CHECK(key({"a", "b"}) == key({"a", "b"}));
}

TEST_CASE("scope keys: by index") {
  const std::vector<ScopeKeyFragment> whole = {{"x", "", 0u}};
  CHECK(key_of(whole, {{"x", "a,b"}}) == key({"a,b"}));
  CHECK(key_of(whole, {{"x", ""}}) == key({""}));
  CHECK(key_of(whole, {{"y", "a"}}) == "none");
  CHECK(key_of(whole, {{"x", "first"}, {"x", "second"}}) == key({"first"}));
  const std::vector<ScopeKeyFragment> second = {{"x", ", ", 1u}};
  CHECK(key_of(second, {{"x", "a, b, c"}}) == key({"b"}));
  CHECK(key_of(second, {{"x", "a, "}}) == key({""}));
  CHECK(key_of(second, {{"x", "a,b"}}) == "none");
}

TEST_CASE("scope keys: by element") {
  const std::vector<ScopeKeyFragment> named = {{"x", ";", Pair{"=", "k"}}};
  CHECK(key_of(named, {{"x", "j=1;k=2;k=3"}}) == key({"2"}));
  CHECK(key_of(named, {{"x", "k=a=b"}}) == key({"a=b"}));
  CHECK(key_of(named, {{"x", "k"}}) == key({""}));
  CHECK(key_of(named, {{"x", "kk=1; k=2"}}) == "none");
  CHECK(key_of({{"x", "", Pair{"=", "k"}}}, {{"x", "k=1;k=2"}}) == key({"1;k=2"}));
}

TEST_CASE("scope keys: every part has to be there") {
  const std::vector<ScopeKeyFragment> two = {{"x", "", 0u}, {"y", ",", 1u}};
  CHECK(key_of(two, {{"x", "a"}, {"y", "_,b"}}) == key({"a", "b"}));
  CHECK(key_of(two, {{"x", "a"}}) == "none");
}

}  // namespace
}  // namespace sluice::model
