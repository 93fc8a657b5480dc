#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>

#include "core/fd.h"
#include "server/admin/server.h"

// An admin server on a loop of its own, and a client.
struct AdminWorld {
  explicit AdminWorld(sluice::admin::Server::Options options = {}) {
    sluice::io::LoopOptions o;
    o.backend = sluice::io::LoopOptions::Backend::epoll;
    auto made = sluice::io::make_loop(o);
    REQUIRE(made.ok());
    loop = std::move(made).value();
    server = std::make_unique<sluice::admin::Server>(*loop, router, options);
  }
  virtual ~AdminWorld() {
    server->stop();
    until([&] { return server->idle(); });
    server.reset();
    for (int i = 0; i < 5; ++i) loop->run_once(sluice::Duration{});
  }

  template <typename F>
  void until(F done) {
    // check-allow: the deadline of a test on real sockets
    auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!done()) {
      // check-allow: the deadline of a test on real sockets
      REQUIRE(std::chrono::steady_clock::now() < end);
      loop->run_once(std::chrono::milliseconds(2));
    }
  }

  sluice::Fd connect(size_t which = 0) {
    const sluice::Address& to = server->addresses().at(which);
    sluice::Fd fd(::socket(to.family(), SOCK_STREAM, 0));
    REQUIRE(::connect(fd.get(), to.sockaddr_ptr(), to.len()) == 0);
    return fd;
  }
  static void send(const sluice::Fd& fd, std::string_view bytes) {
    REQUIRE(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  // Runs the loop until the peer has sent `text` (or, for "", closed the connection); gives all that came.
  std::string receive(const sluice::Fd& fd, std::string_view text) {
    std::string all;
    until([&] {
      char buffer[4096];
      ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (n > 0) all.append(buffer, static_cast<size_t>(n));
      return text.empty() ? n == 0 || (n < 0 && errno == ECONNRESET) : all.find(text) != all.npos;
    });
    return all;
  }
  std::string ask(std::string_view line) {
    sluice::Fd fd = connect();
    send(fd, std::string(line) + " HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    return receive(fd, "");
  }

  std::unique_ptr<sluice::io::Loop> loop;
  sluice::admin::Router router;
  std::unique_ptr<sluice::admin::Server> server;
};
