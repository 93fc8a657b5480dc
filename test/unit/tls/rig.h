#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "test/support/test_ca.h"
#include "test/unit/tls/clock_loop.h"
#include "tls/context.h"

// Both sides of TLS in memory, on one loop whose clock the test sets.
namespace sluice::tls::test {

using namespace sluice::test;
using State = ext::TransportSocket::Status;

template <typename T>
std::shared_ptr<const T> shared(T value) {
  return std::make_shared<const T>(std::move(value));
}

inline std::shared_ptr<const Certificate> certificate(const PemPair& pair) {
  Certificate c;
  c.chain = pair.chain;
  c.private_key = pair.key;
  return shared(std::move(c));
}

inline std::shared_ptr<const Validation> trusting(const TestCa& ca) {
  Validation v;
  v.ca_name = "<inline>";
  v.trusted_ca = ca.pem();
  return shared(std::move(v));
}

// One end of a connection.
struct End {
  ext::TransportSocketPtr socket;
  Buffer in;  // from the peer, not taken yet
  Buffer out;
  std::string got;
  State status = State::ok;
  bool eof = false;

  void receive() {
    Buffer plain;
    status = socket->receive(in, eof, plain, out);
    got += plain.to_string();
  }
};

struct Bed {
  ClockLoop loop;
  stats::Store store{1};
  Stats server_stats{store.root(0).scope("listener").scope("a")};
  Stats client_stats{store.root(0).scope("cluster").scope("b")};
  TestCa ca{"Test CA", loop.wall};
  PemPair server_pair = ca.issue({.common_name = "server", .sans = {"DNS:server.example"}});
  ServerSettings server_settings;
  ClientSettings client_settings;
  ServerSecrets server_secrets{
      .certificates = {certificate(server_pair)}, .validation = nullptr, .tickets = nullptr};
  ClientSecrets client_secrets{.certificates = {}, .validation = trusting(ca)};
  ConnectOptions options{.server_name = "server.example",
                         .verify_names = {},
                         .alpn = {},
                         .alpn_fallback = {},
                         .host_name = {},
                         .session_key = "peer"};
  std::shared_ptr<ServerContext> server_context;
  std::shared_ptr<ClientContext> client_context;
  End server, client;
  size_t piece = SIZE_MAX;  // bytes that one receive() gets at most

  void make_server() {
    auto made = ServerContext::make(server_settings, server_secrets);
    REQUIRE_MESSAGE(made.ok(), made.error().message);
    server_context = *made;
  }
  void make_client() {
    auto made = ClientContext::make(client_settings, client_secrets);
    REQUIRE_MESSAGE(made.ok(), made.error().message);
    client_context = *made;
  }
  // A new connection, which has not begun.
  void fresh() {
    if (!server_context) make_server();
    if (!client_context) make_client();
    server = End{};
    client = End{};
    server.socket = server_context->accept({.loop = loop, .stats = server_stats});
    client.socket = client_context->connect({.loop = loop, .stats = client_stats}, options);
    REQUIRE(server.socket);
    REQUIRE(client.socket);
    client.socket->start(client.out);
    server.socket->start(server.out);
  }
  // Carries bytes until nobody has more to say.
  void run() {
    for (bool moved = true; moved;) {
      moved = carry(client, server);
      moved |= carry(server, client);
    }
  }
  bool carry(End& from, End& to) {
    if (from.out.empty() || to.status == State::failed) return false;
    while (!from.out.empty()) {
      const std::string_view front = from.out.chunk(0).view();
      const size_t n = std::min(piece, front.size());
      to.in.append(loop.blocks(), front.substr(0, n));
      from.out.drain(n);
      if (to.status != State::failed) to.receive();
    }
    return true;
  }
  // A connection and its handshake. True: both ends are established.
  bool connect() {
    fresh();
    run();
    return server.socket->established() && client.socket->established() && server.status == State::ok &&
           client.status == State::ok;
  }
  void send(End& from, std::string_view text) {
    Buffer plain;
    plain.append(loop.blocks(), text);
    from.socket->send(plain, plain.size(), from.out);
    CHECK(plain.empty());
    run();
  }
  uint64_t count(std::string_view name) {
    for (const auto& m : store.snapshot())
      if (m.name == name) return m.value;
    return 0;
  }
  uint64_t at_server(std::string_view name) { return count("listener.a.ssl." + std::string(name)); }
  uint64_t at_client(std::string_view name) { return count("cluster.b.ssl." + std::string(name)); }
};

}  // namespace sluice::tls::test
