#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/address.h"
#include "core/ascii.h"
#include "core/fd.h"

namespace sluice::net {

// A DNS server on 127.0.0.1, UDP and TCP, on a thread of its own. Knows what the test tells it; other names do not
// exist. RFC 1035, section 4.
class TestDnsServer {
 public:
  enum class Mode { answer, servfail, silent };

  TestDnsServer() : wake_(::eventfd(0, EFD_CLOEXEC)) {
    // The same free port for both; another process may take one of them in between.
    for (int tries = 0; tries < 50 && !tcp_.valid(); ++tries) {
      udp_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      Address a(IpAddress::v4(htonl(INADDR_LOOPBACK)), 0);
      REQUIRE(::bind(udp_.get(), a.sockaddr_ptr(), a.len()) == 0);
      socklen_t len = Address::capacity();
      REQUIRE(::getsockname(udp_.get(), at_.sockaddr_ptr(), &len) == 0);
      at_.set_len(len);
      tcp_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (::bind(tcp_.get(), at_.sockaddr_ptr(), at_.len()) != 0 || ::listen(tcp_.get(), 8) != 0)
        tcp_.reset();
    }
    REQUIRE(tcp_.valid());
    thread_ = std::thread([this] { serve(); });
  }
  ~TestDnsServer() {
    uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    thread_.join();
  }

  const Address& at() const { return at_; }
  // IPv4 and IPv6 addresses mixed. An empty list: the name exists and has no address.
  void set(const std::string& name, std::vector<std::string> addresses, uint32_t ttl_s = 60) {
    std::lock_guard lock(mutex_);
    records_[name] = {std::move(addresses), ttl_s};
  }
  void erase(const std::string& name) {
    std::lock_guard lock(mutex_);
    records_.erase(name);
  }
  void set_mode(Mode mode) {
    std::lock_guard lock(mutex_);
    mode_ = mode;
  }
  // "A name", "AAAA name", with "/tcp" where it came that way; in order of arrival.
  std::vector<std::string> queries() const {
    std::lock_guard lock(mutex_);
    return queries_;
  }
  size_t connections() const {
    std::lock_guard lock(mutex_);
    return connections_;
  }
  // Where those by UDP came from, in order.
  std::vector<uint16_t> ports() const {
    std::lock_guard lock(mutex_);
    return ports_;
  }
  size_t asked(const std::string& query) const {
    auto all = queries();
    return static_cast<size_t>(std::count(all.begin(), all.end(), query));
  }

 private:
  struct Record {
    std::vector<std::string> addresses;
    uint32_t ttl_s;
  };

  void serve() {
    Fd client;
    for (;;) {
      pollfd fds[4] = {{wake_.get(), POLLIN, 0},
                       {udp_.get(), POLLIN, 0},
                       {tcp_.get(), POLLIN, 0},
                       {client.get(), POLLIN, 0}};
      if (::poll(fds, client.valid() ? 4 : 3, -1) < 0) continue;
      if (fds[0].revents) return;
      if (fds[2].revents) {
        client.reset(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        std::lock_guard lock(mutex_);
        ++connections_;
      }
      if (fds[1].revents) {
        uint8_t buf[1500];
        Address from;
        socklen_t len = Address::capacity();
        ssize_t n = ::recvfrom(udp_.get(), buf, sizeof buf, 0, from.sockaddr_ptr(), &len);
        from.set_len(len);
        {
          std::lock_guard lock(mutex_);
          ports_.push_back(from.port());
        }
        std::string reply = n < 12 ? "" : answer(buf, static_cast<size_t>(n), false);
        if (!reply.empty())
          ::sendto(udp_.get(), reply.data(), reply.size(), 0, from.sockaddr_ptr(), from.len());
      } else if (client.valid() && fds[3].revents) {
        uint8_t buf[1500];
        ssize_t n = ::recv(client.get(), buf, 2, MSG_WAITALL);
        size_t size = n == 2 ? static_cast<size_t>(buf[0]) << 8 | buf[1] : 0;
        if (size < 12 || size > sizeof buf ||
            ::recv(client.get(), buf, size, MSG_WAITALL) != static_cast<ssize_t>(size)) {
          client.reset();
          continue;
        }
        std::string reply = answer(buf, size, true);
        std::string framed;
        put16(framed, static_cast<uint16_t>(reply.size()));
        framed += reply;
        if (!reply.empty()) (void)!::send(client.get(), framed.data(), framed.size(), MSG_NOSIGNAL);
      }
    }
  }

  static void put16(std::string& s, uint16_t v) {
    s += static_cast<char>(v >> 8), s += static_cast<char>(v & 255);
  }
  static void put32(std::string& s, uint32_t v) {
    put16(s, static_cast<uint16_t>(v >> 16)), put16(s, static_cast<uint16_t>(v));
  }

  // Empty: say nothing.
  std::string answer(const uint8_t* q, size_t n, bool tcp) {
    std::string name;
    size_t at = 12;
    while (at < n && q[at] != 0) {
      if (!name.empty()) name += '.';
      for (size_t i = 1; i <= q[at] && at + i < n; ++i) name += to_lower(static_cast<char>(q[at + i]));
      at += 1u + q[at];
    }
    if (at + 5 > n) return "";
    const uint16_t type = static_cast<uint16_t>(q[at + 1] << 8 | q[at + 2]);
    std::lock_guard lock(mutex_);
    queries_.push_back((type == 1 ? "A " : type == 28 ? "AAAA " : "other ") + name + (tcp ? "/tcp" : ""));
    if (mode_ == Mode::silent) return "";
    auto record = records_.find(name);
    std::vector<std::string> rdata;
    if (record != records_.end() && mode_ == Mode::answer) {
      for (const std::string& text : record->second.addresses) {
        IpAddress ip = *IpAddress::parse(text);
        if (ip.is_v4() != (type == 1)) continue;
        rdata.emplace_back(reinterpret_cast<const char*>(ip.bytes().data()), ip.is_v4() ? 4 : 16);
      }
    }
    const int code = mode_ == Mode::servfail ? 2 : record == records_.end() ? 3 : 0;
    std::string out(reinterpret_cast<const char*>(q), 2);
    put16(out, static_cast<uint16_t>(0x8180 | code));  // response, recursion desired and available
    put16(out, 1), put16(out, static_cast<uint16_t>(rdata.size())), put16(out, 0), put16(out, 0);
    out.append(reinterpret_cast<const char*>(q) + 12, at + 5 - 12);
    for (const std::string& r : rdata) {
      put16(out, 0xc00c), put16(out, type), put16(out, 1), put32(out, record->second.ttl_s);
      put16(out, static_cast<uint16_t>(r.size()));
      out += r;
    }
    return out;
  }

  Fd wake_, udp_, tcp_;
  Address at_;
  mutable std::mutex mutex_;
  std::map<std::string, Record> records_;
  Mode mode_ = Mode::answer;
  std::vector<std::string> queries_;
  std::vector<uint16_t> ports_;
  size_t connections_ = 0;
  std::thread thread_;
};

}  // namespace sluice::net
