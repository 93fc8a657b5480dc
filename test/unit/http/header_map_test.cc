#include "http/header_map.h"

#include <doctest/doctest.h>

namespace sluice::http {
namespace {

TEST_CASE("every known name is found by its text, and no other") {
  for (size_t i = 1; i < static_cast<size_t>(Name::count); ++i) {
    Name name = static_cast<Name>(i);
    CHECK(find_name(to_string(name)) == name);
  }
  CHECK(find_name("x-other") == Name::other);
  CHECK(find_name("") == Name::other);
  CHECK(find_name("hosts") == Name::other);
}

TEST_CASE("fields keep their order; set replaces the first and drops the rest") {
  HeaderMap h;
  h.add(Name::method, "GET");
  h.add("x-a", "1");
  h.add("x-b", "2");
  h.add("x-a", "3");
  CHECK(h.size() == 4);
  CHECK(h.count("x-a") == 2);
  std::string_view kept = h.get("x-a");
  h.set("x-a", "9");
  CHECK(kept == "1");  // views outlive the replacement
  REQUIRE(h.size() == 3);
  CHECK((h.begin() + 1)->value == "9");
  CHECK((h.begin() + 2)->name == "x-b");
  CHECK(h.bytes() == 7 + 3 + 3 + 1 + 3 + 1);
}

TEST_CASE("a known name is the same field whichever way it is named") {
  HeaderMap h;
  h.add("content-type", "text/plain");
  CHECK(h.get(Name::content_type) == "text/plain");
  h.set(Name::content_type, "a/b");
  CHECK(h.get("content-type") == "a/b");
  CHECK(h.remove("content-type") == 1);
  CHECK_FALSE(h.has(Name::content_type));
  CHECK(h.get(Name::content_type).data() == nullptr);
  CHECK(h.bytes() == 0);
}

TEST_CASE("an empty value is there; a missing field is not") {
  HeaderMap h;
  h.add("x-empty", "");
  CHECK(h.get("x-empty").data() != nullptr);
  CHECK(h.get("x-missing").data() == nullptr);
}

TEST_CASE("append joins into the first field") {
  HeaderMap h;
  h.append(Name::x_forwarded_for, "10.0.0.1");
  h.append(Name::x_forwarded_for, "10.0.0.2");
  CHECK(h.get(Name::x_forwarded_for) == "10.0.0.1,10.0.0.2");
  std::string scratch;
  h.add(Name::x_forwarded_for, "10.0.0.3");
  CHECK(*h.joined("x-forwarded-for", scratch) == "10.0.0.1,10.0.0.2,10.0.0.3");
  CHECK_FALSE(h.joined("via", scratch));
}

TEST_CASE("a copy stands alone, and maps are used again empty") {
  HeaderMapPtr a = make_headers();
  a->add("x-long", std::string(5000, 'v'));
  a->set_integer(Name::content_length, 18446744073709551615ull);
  HeaderMapPtr b = copy_headers(*a);
  a.reset();
  CHECK(b->get("x-long") == std::string(5000, 'v'));
  CHECK(b->get(Name::content_length) == "18446744073709551615");
  HeaderMapPtr c = make_headers();
  CHECK(c->empty());
  CHECK_FALSE(c->has("x-long"));
}

TEST_CASE("a map that is cleared keeps a block it has grown to, of ordinary size") {
  HeaderMap map;
  auto fill = [&](size_t fields) {
    map.clear();
    for (size_t i = 0; i < fields; ++i) map.add("x-" + std::to_string(i), std::string(100, 'v'));
    return map.get("x-0").data();
  };
  fill(3);
  fill(12);                                     // 512 bytes, and 1 KiB, which is kept
  fill(12);                                     // that, and 2 KiB, which are kept
  const char* grown = fill(12);
  CHECK(map.get("x-11").data() - grown < 2048);
  CHECK(map.get("x-11").data() > grown);
  fill(1);
  CHECK(fill(12) == grown);
  fill(200);                                    // the biggest are too big to keep
  CHECK(map.get("x-199") == std::string(100, 'v'));
  fill(12);
  CHECK(map.get("x-11").data() - map.get("x-0").data() < 2048);
}

}  // namespace
}  // namespace sluice::http
