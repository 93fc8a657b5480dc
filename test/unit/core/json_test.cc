#include "core/json.h"

#include <doctest/doctest.h>

using namespace sluice;

TEST_CASE("JSON: what is written is read back") {
  Json j = Json::object();
  j.set("text", "a \"quoted\"\n\\ \x01 ü").set("n", -12).set("big", int64_t{1} << 53).set("half", 0.5);
  j.set("yes", true).set("none", Json()).set("list", Json::array().push(1).push("x").push(Json::object()));
  for (bool pretty : {false, true}) {
    auto back = Json::parse(j.dump(pretty));
    REQUIRE(back.ok());
    CHECK(back->dump() == j.dump());
  }
  CHECK(j["text"].as_string() == "a \"quoted\"\n\\ \x01 ü");
  CHECK(j["n"].as_int() == -12);
  CHECK(j["half"].as_double() == 0.5);
  CHECK(j["absent"].is_null());
  CHECK(j["yes"].as_bool());
  j.set("n", 3);
  CHECK(j["n"].as_int() == 3);
  CHECK(Json::array().dump() == "[]");
  CHECK(Json::object().dump(true) == "{}");
}

TEST_CASE("JSON: escapes and numbers") {
  CHECK(Json::parse(R"("\u00fc\u20ac\ud83d\ude00\/\b\f\r\t")")->as_string() == "ü€😀/\b\f\r\t");
  CHECK(Json::parse("9223372036854775807")->as_int() == INT64_MAX);
  CHECK(Json::parse("9223372036854775808")->type() == Json::Type::number);
  CHECK(Json::parse("-1.5e3")->as_double() == -1500);
  CHECK(Json::parse(" [ ] ")->is_array());
}

TEST_CASE("JSON: what is wrong is refused, with its place") {
  for (const char* bad : {"",
                          "{",
                          "[1,]",
                          "{\"a\":1,}",
                          "{\"a\" 1}",
                          "{a:1}",
                          "[1 2]",
                          "nul",
                          "tru",
                          "\"open",
                          "\"\\x\"",
                          "\"\\u12\"",
                          "\"\\ud800\"",
                          "\"\\ud800\\u0041\"",
                          "\"\\udc00\"",
                          "1 2",
                          "--1",
                          "1e",
                          "\"a\nb\"",
                          "{\"a\":1,\"a\":2}"}) {
    INFO(std::string(bad));
    CHECK(!Json::parse(bad).ok());
  }
  auto e = Json::parse("{\n  \"a\": 1,\n  \"b\" 2\n}");
  REQUIRE(!e.ok());
  CHECK(e.error().message == "JSON, line 3, column 7: ':' is missing");
  std::string deep(200, '[');
  CHECK(Json::parse(deep).error().message.find("nested too deeply") != std::string::npos);
}
