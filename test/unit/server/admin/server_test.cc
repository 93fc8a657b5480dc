#include "server/admin/server.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <thread>

#include "core/fd.h"
#include "test/unit/server/admin/world.h"

using namespace sluice;
using admin::Reply;
using admin::Request;
using admin::Response;
namespace fs = std::filesystem;

namespace {

struct World : AdminWorld {
  explicit World(admin::Server::Options options = {}) : AdminWorld(options) {
    router.add({.path = "/hello", .help = "says hello", .params = {{"name", "whom"}}},
               [](const Request& r) { return Response::text(200, "hello " + std::string(r.get("name"))); });
    router.add({.path = "/change", .help = "changes", .mutates = true},
               [](const Request& r) { return Response::text(200, r.method + r.body); });
    router.add({.path = "/v1/things/*"},
               [](const Request& r) { return Response::json("{\"path\":\"" + r.path + "\"}"); });
    router.add({.path = "/local"},
               [](const Request& r) { return Response::text(200, r.local ? "yes" : "no"); });
    router.add_async({.path = "/later"}, [this](const Request&, Reply r) { later.emplace(std::move(r)); });
    router.add_async({.path = "/never"}, [](const Request&, Reply) {});
  }
  ~World() override { later.reset(); }
  std::optional<Reply> later;
};

Address loopback() {
  return Address::parse("127.0.0.1:0").value();
}

}  // namespace

TEST_CASE("routes, methods and parameters") {
  World w;
  REQUIRE(w.server->listen(loopback()).ok());
  CHECK(w.ask("GET /hello?name=you").ends_with("\r\n\r\nhello you"));
  CHECK(w.ask("GET /change").starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
  CHECK(w.ask("GET /change").ends_with("Method GET not allowed, POST required."));
  CHECK(w.ask("POST /change").ends_with("\r\n\r\nPOST"));
  CHECK(w.ask("DELETE /v1/things/a/b").ends_with("{\"path\":\"/v1/things/a/b\"}"));
  CHECK(w.ask("GET /v1/things").starts_with("HTTP/1.1 404 Not Found\r\n"));
  std::string head = w.ask("HEAD /hello");
  CHECK(head.find("content-length: 6\r\n") != head.npos);
  CHECK(head.ends_with("\r\n\r\n"));
  std::string help = w.ask("GET /nope");
  CHECK(help.find("invalid path. admin commands are:\n  /change (POST): changes\n  /hello: says hello\n      "
                  "name: whom\n") != help.npos);
  CHECK(w.router.index_html().find("<a href=\"hello\">") != std::string::npos);
}

TEST_CASE("several requests on one connection, sent in one go") {
  World w;
  REQUIRE(w.server->listen(loopback()).ok());
  Fd fd = w.connect();
  World::send(fd,
              "GET /hello?name=1 HTTP/1.1\r\nhost: x\r\n\r\nPOST /change HTTP/1.1\r\nhost: "
              "x\r\ncontent-length: 3\r\n\r\nabc"
              "GET /hello?name=3 HTTP/1.1\r\nhost: x\r\n\r\n");
  std::string all = w.receive(fd, "hello 3");
  CHECK(all.find("hello 1") < all.find("POSTabc"));
  CHECK(all.find("POSTabc") < all.find("hello 3"));
  World::send(fd, "nonsense\r\n\r\n");
  CHECK(w.receive(fd, "").starts_with("HTTP/1.1 400"));
}

TEST_CASE("an answer may come later; others are served meanwhile; order is kept") {
  World w;
  REQUIRE(w.server->listen(loopback()).ok());
  Fd slow = w.connect();
  World::send(slow,
              "GET /later HTTP/1.1\r\nhost: x\r\n\r\nGET /hello?name=after HTTP/1.1\r\nhost: x\r\n\r\n");
  w.until([&] { return w.later.has_value(); });
  CHECK(w.ask("GET /hello?name=you").ends_with("hello you"));
  w.later->send(Response::text(200, "at last"));
  std::string all = w.receive(slow, "hello after");
  CHECK(all.find("at last") < all.find("hello after"));
  CHECK(w.ask("GET /never").starts_with("HTTP/1.1 500"));
}

TEST_CASE("a client that goes away before its answer harms nobody") {
  World w;
  REQUIRE(w.server->listen(loopback()).ok());
  {
    Fd fd = w.connect();
    World::send(fd, "GET /later HTTP/1.1\r\nhost: x\r\n\r\n");
    w.until([&] { return w.later.has_value(); });
    linger off{1, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &off, sizeof off);
  }
  w.until([&] { return w.server->connections() == 0; });
  w.later->send(Response::text(200, "too late"));
  CHECK(w.ask("GET /hello").starts_with("HTTP/1.1 200"));
}

TEST_CASE("connections are bounded in number and in time") {
  admin::Server::Options options;
  options.connections_max = 2;
  options.request_timeout = std::chrono::milliseconds(20);
  options.idle_timeout = std::chrono::milliseconds(60);
  World w(options);
  REQUIRE(w.server->listen(loopback()).ok());
  Fd a = w.connect(), b = w.connect();
  w.until([&] { return w.server->connections() == 2; });
  Fd c = w.connect();
  CHECK(w.receive(c, "") == "");
  World::send(a, "GET /hel");
  CHECK(w.receive(a, "").starts_with("HTTP/1.1 408"));
  CHECK(w.receive(b, "") == "");
  CHECK(w.ask("GET /hello").starts_with("HTTP/1.1 200"));
}

TEST_CASE("a Unix socket: for its owner alone, stale ones replaced, live ones respected") {
  char name[] = "/tmp/sluice-admin-XXXXXX";
  std::string dir = mkdtemp(name), path = dir + "/s";
  Address address = Address::pipe(path).value();
  {
    Fd stale(::socket(AF_UNIX, SOCK_STREAM, 0));
    REQUIRE(::bind(stale.get(), address.sockaddr_ptr(), address.len()) == 0);
  }
  {
    World w;
    REQUIRE(w.server->listen(address).ok());
    struct stat st;
    REQUIRE(stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == 0600);
    CHECK(w.ask("GET /local").ends_with("yes"));
    World other;
    Status second = other.server->listen(address);
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().message.find("in use") != std::string::npos);
  }
  CHECK_FALSE(fs::exists(path));
  fs::path file = dir + "/file";
  Fd(::open(file.c_str(), O_CREAT | O_WRONLY, 0600));
  World w;
  CHECK_FALSE(w.server->listen(Address::pipe(file.string()).value()).ok());
  fs::remove_all(dir);
}
