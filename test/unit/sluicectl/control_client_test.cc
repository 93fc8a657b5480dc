#include "control_client.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "core/fd.h"
#include "output.h"

using namespace sluice;
using namespace sluice::ctl;

namespace {

// Answers one request with the given bytes, a few at a time, and keeps what was asked.
class OneShot {
 public:
  explicit OneShot(std::string reply) : path_("/tmp/sluice-ctl-test-" + std::to_string(::getpid())) {
    ::unlink(path_.c_str());
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::strncpy(a.sun_path, path_.c_str(), sizeof(a.sun_path) - 1);
    REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&a), sizeof(a)) == 0);
    REQUIRE(::listen(listener_.get(), 1) == 0);
    thread_ = std::thread([this, reply = std::move(reply)] {
      Fd c(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char buf[4096];
      size_t want = std::string::npos;
      while (asked_.size() < want) {
        ssize_t n = ::recv(c.get(), buf, sizeof(buf), 0);
        if (n <= 0) break;
        asked_.append(buf, static_cast<size_t>(n));
        size_t head = asked_.find("\r\n\r\n"), length = asked_.find("Content-Length: ");
        if (head != std::string::npos)
          want = head + 4 + (length < head ? std::strtoul(asked_.c_str() + length + 16, nullptr, 10) : 0);
      }
      for (size_t at = 0; at < reply.size(); at += 7)
        if (::send(c.get(), reply.data() + at, std::min<size_t>(7, reply.size() - at), MSG_NOSIGNAL) < 0)
          break;
    });
  }
  ~OneShot() {
    if (thread_.joinable()) thread_.join();
    ::unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }
  const std::string& asked() {
    thread_.join();
    return asked_;
  }

 private:
  std::string path_, asked_;
  Fd listener_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("a request and its answer, by length and in chunks") {
  {
    OneShot server("HTTP/1.1 200 OK\r\ncontent-LENGTH: 12\r\n\r\n{\"id\": 17 }\nignored");
    Json body = Json::object().set("name", "shop/cart");
    auto answer = ask_sluiced(server.path(), "POST", "/workloads", &body);
    REQUIRE(answer.ok());
    CHECK((*answer)["id"].as_int() == 17);
    CHECK(
        server.asked() ==
        "POST /workloads HTTP/1.1\r\nHost: sluiced\r\nConnection: close\r\nContent-Type: application/json\r\n"
        "Content-Length: 20\r\n\r\n{\"name\":\"shop/cart\"}");
  }
  {
    OneShot server(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[{\"a\r\n7\r\n\": 1}, \r\n3\r\n2 "
        "]\r\n0\r\n\r\n");
    auto answer = ask_sluiced(server.path(), "GET", "/connections");
    REQUIRE_MESSAGE(answer.ok(), (answer.ok() ? "" : answer.error().message));
    CHECK(answer->dump() == "[{\"a\":1},2]");
  }
  {
    OneShot server("HTTP/1.1 200 OK\r\n\r\n[]");  // ended by closing
    CHECK(ask_sluiced(server.path(), "GET", "/connections").ok());
  }
}

TEST_CASE("sluiced's refusals keep its words; a broken answer is an error") {
  struct {
    const char* reply;
    const char* words;
    int code;
  } cases[] = {
      {"HTTP/1.1 404 Not Found\r\nContent-Length: 28\r\n\r\n{\"error\":\"no such workload\"} ",
       "no such workload", ESRCH},
      {"HTTP/1.1 409 Conflict\r\n\r\n{\"error\":\"enrolled already\"}", "enrolled already", EEXIST},
      {"HTTP/1.1 500 Oops\r\n\r\nnot json", "not json", EINVAL},
      {"HTTP/1.1 503 No\r\n\r\n", "sluiced answered with status 503", EINVAL},
      {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", "ends early", EPROTO},
      {"HTTP/1.1 200 OK\r\n", "ends early", EPROTO},
      {"SSH-2.0-OpenSSH\r\n\r\n", "is not HTTP/1.1", EPROTO},
      {"HTTP/1.1 200 OK\r\n\r\n{\"a\":}", "JSON, line 1, column 6", 0},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "broken chunk", EPROTO},
  };
  for (const auto& c : cases) {
    INFO(std::string(c.reply));
    OneShot server(c.reply);
    auto answer = ask_sluiced(server.path(), "DELETE", "/workloads/x");
    REQUIRE(!answer.ok());
    INFO(answer.error().message);
    CHECK(answer.error().message.find(c.words) != std::string::npos);
    CHECK(answer.error().code == c.code);
    CHECK(!nobody_there(answer.error()));
  }
}

TEST_CASE("nobody on the socket is told from a refusal, with a remedy") {
  auto answer = ask_sluiced("/tmp/sluice-no-such-socket", "GET", "/workloads");
  REQUIRE(!answer.ok());
  CHECK(nobody_there(answer.error()));
  CHECK(answer.error().message.find("is sluiced running?") != std::string::npos);
}

TEST_CASE("names in targets and numbers in tables") {
  CHECK(percent_encode("shop/cart-1.x_y") == "shop%2Fcart-1.x_y");
  CHECK(percent_encode("a b%") == "a%20b%25");
  CHECK(human_bytes(0) == "0B");
  CHECK(human_bytes(1023) == "1023B");
  CHECK(human_bytes(1536) == "1.5K");
  CHECK(human_bytes(200 << 20) == "200M");
  CHECK(human_age_ms(999) == "999ms");
  CHECK(human_age_ms(90'500) == "1m30s");
  CHECK(human_age_ms(7'260'000) == "2h1m");
}
