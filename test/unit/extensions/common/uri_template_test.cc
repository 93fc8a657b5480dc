#include "extensions/common/uri_template.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace sluice;

TEST_CASE("uri_template: what a template matches") {
  struct {
    const char* text;
    std::vector<const char*> yes, no;
  } const cases[] = {
      {"/", {"/"}, {"", "/a", "//"}},
      {"/a/b", {"/a/b"}, {"/a", "/a/b/", "/A/b", "/a/bc"}},
      {"/a/", {"/a/"}, {"/a", "/a/b"}},
      {"/a/*", {"/a/b", "/a/b.c-d~%20"}, {"/a/", "/a", "/a/b/c", "/a/b*"}},
      {"/a/*/c", {"/a/b/c"}, {"/a//c", "/a/b/b/c"}},
      {"/a/**", {"/a/", "/a/b", "/a/b/c/"}, {"/a", "/b/c"}},
      {"/**", {"/", "/a", "/a/b"}, {"", "a"}},
      {"/**/c", {"/a/b/c", "//c"}, {"/a/b/cd", "/c"}},
      {"/*.txt", {"/a.txt", "/a.b.txt"}, {"/a.txtx", "/.txt", "/aXtxt"}},
      {"/{a}/c", {"/b/c"}, {"/c", "/b/b/c"}},
      {"/{a=x/*}/c", {"/x/b/c"}, {"/y/b/c", "/x/c"}},
      {"/{a=**}.json", {"/x/y.json", "/.json"}, {"/x/y"}},
      {"/a.b(c)$+", {"/a.b(c)$+"}, {"/aXb(c)$+"}},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    auto made = extensions::compile_uri_template(c.text);
    REQUIRE(made.ok());
    for (const char* path : c.yes) {
      CAPTURE(path);
      CHECK(made->full_match(path));
    }
    for (const char* path : c.no) {
      CAPTURE(path);
      CHECK_FALSE(made->full_match(path));
    }
  }
}

TEST_CASE("uri_template: what is no template") {
  for (const char* text : {"",
                           "a",
                           "*",
                           "/a b",
                           "/a*",
                           "/*a*",
                           "//",
                           "/a//b",
                           "/a=b",
                           "/{a",
                           "/a}",
                           "/{}",
                           "/{1a}",
                           "/{a-b}",
                           "/{a=}",
                           "/{a=b/}",
                           "/{a=b//c}",
                           "/{a}{b}",
                           "/{a}/{a}",
                           "/{a}/{b}/{c}/{d}/{e}/{f}",
                           "/{abcdefghijklmnopq}",
                           "/**/*",
                           "/**/**",
                           "/**/{a}",
                           "/{a=**/*}",
                           "/*.txt/a",
                           "/***"}) {
    CAPTURE(text);
    CHECK_FALSE(extensions::compile_uri_template(text).ok());
  }
}

TEST_CASE("uri_template: what a rewrite makes of a path") {
  struct {
    const char *text, *rewrite, *path, *want;
  } const cases[] = {
      {"/a/{x}", "/b/{x}", "/a/1", "/b/1"},
      {"/a/{x}/{y=c/**}", "/{y}/{x}{x}.html", "/a/1/c/d/e", "/c/d/e/11.html"},
      {"/a/*", "/b*=", "/a/1", "/b*="},
      {"/{a}/{b}/{c}/{d}/{e}", "/{e}{d}{c}{b}{a}", "/1/2/3/4/5", "/54321"},
      {"/a/{x=**}", "/b/{x}", "/a/", "/b/"},
      {"/a/{x}", "/b/{x}", "/c/a/1", "/c/a/1"},  // no match
      {"/a/{x}", "/b/{x}", "/a/1/a/2", "/a/1/a/2"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    auto made = extensions::compile_uri_rewrite(c.text, c.rewrite);
    REQUIRE(made.ok());
    std::string out;
    made->regex.replace_all(c.path, made->substitution, out);
    CHECK(out == c.want);
  }
}

TEST_CASE("uri_template: what is no rewrite") {
  for (const char* text : {"", "a", "{x}", "//", "/a//{x}", "/{y}", "/{}", "/{x", "/x}", "/{{x}}", "/{x=*}",
                           "/a b", "/?{x}", "/#", "/\\1"}) {
    CAPTURE(text);
    CHECK_FALSE(extensions::compile_uri_rewrite("/a/{x}", text).ok());
  }
}
