#include "redirect/return_path.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "fixture.h"
#include "redirect/host.h"
#include "redirect/netns.h"

using namespace sluice;
using namespace sluice::test;
using redirect::Redirector;

namespace {

// What a namespace has of rules and routes, and the sysctl, as text.
std::string routing(const std::string& netns) {
  std::string file = "/tmp/sluice-routing-" + std::to_string(::getpid());
  std::string command = "nsenter --net=" + netns +
                        " sh -c 'for f in -4 -6; do ip $f rule; ip $f route show table all; done; "
                        "cat /proc/sys/net/ipv4/tcp_fwmark_accept' > " +
                        file + " 2>/dev/null";
  (void)std::system(command.c_str());
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  ::unlink(file.c_str());
  return text.str();
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

redirect::Options with_return_path(const Host& host) {
  redirect::Options o = host.options();
  o.return_path = true;
  return o;
}

}  // namespace

TEST_CASE("return path: made at enrolment where it is wanted, once, and gone at release") {
  if (!can_run()) return;
  Host host;
  std::string netns = host.make_netns("pod");
  std::string before = routing(netns);
  REQUIRE(before.ends_with("0\n"));
  auto r = Redirector::attach(with_return_path(host));
  REQUIRE_MESSAGE(r.ok(), (r.ok() ? "" : r.error().message));
  auto w = (*r)->enrol(spec_for("pod", netns));
  REQUIRE_MESSAGE(w.ok(), (w.ok() ? "" : w.error().message));
  CHECK(w->return_path);
  std::string made = routing(netns);
  INFO(made);
  CHECK(has(made, "100:\tfrom all fwmark 0x53a lookup 1338"));
  CHECK(has(made, "local default dev lo table 1338"));
  CHECK(made.ends_with("1\n"));
  REQUIRE((*r)->enrol(spec_for("pod", netns)).ok());  // again
  REQUIRE((*r)->renew_return_path(w->netns_cookie).ok());
  CHECK(routing(netns) == made);
  REQUIRE((*r)->release("pod").ok());
  CHECK(routing(netns) == before);
}

TEST_CASE("return path: a pod that had the sysctl on, and rules of its own, keeps both") {
  if (!can_run()) return;
  Host host;
  std::string netns = host.make_netns("pod");
  REQUIRE(
      std::system(("nsenter --net=" + netns +
                   " sh -c 'echo 1 > /proc/sys/net/ipv4/tcp_fwmark_accept; ip rule add fwmark 0x53a lookup "
                   "1338 priority 100; ip route add local 10.1.0.0/16 dev lo table 1338'")
                      .c_str()) == 0);
  std::string before = routing(netns);
  auto r = Redirector::attach(with_return_path(host));
  REQUIRE(r.ok());
  REQUIRE((*r)->enrol(spec_for("pod", netns)).ok());
  CHECK(routing(netns) != before);
  REQUIRE((*r)->release("pod").ok());
  CHECK(routing(netns) == before);
}

TEST_CASE("return path: none unless it is wanted") {
  if (!can_run()) return;
  Host host;
  std::string netns = host.make_netns("pod");
  std::string before = routing(netns);
  auto r = Redirector::attach(host.options());
  REQUIRE(r.ok());
  auto w = (*r)->enrol(spec_for("pod", netns));
  REQUIRE(w.ok());
  CHECK(!w->return_path);
  CHECK(routing(netns) == before);
}

TEST_CASE("return path: the next process makes it again, or takes it away, as its configuration says") {
  if (!can_run()) return;
  Host host;
  std::string netns = host.make_netns("pod");
  std::string before = routing(netns), made;
  uint64_t cookie = 0;
  {
    auto r = Redirector::attach(with_return_path(host));
    REQUIRE(r.ok());
    cookie = (*r)->enrol(spec_for("pod", netns))->netns_cookie;
    made = routing(netns);
  }
  REQUIRE(std::system(
              ("nsenter --net=" + netns + " sh -c 'ip rule del fwmark 0x53a; ip -6 route flush table 1338'")
                  .c_str()) == 0);
  CHECK(routing(netns) != made);
  Fd fd(*redirect::open_netns(netns));
  CHECK(redirect::check_return_path(fd.get()).error().message == "IPv4 rule");
  bool warned = false;
  for (const auto& item : redirect::check_host(host.options()))
    warned |= item.name == "workload pod" &&
              has(item.found, "original_src: the way back for answers lacks: IPv4 rule");
  CHECK(warned);
  {
    auto r = Redirector::attach(with_return_path(host));
    REQUIRE(r.ok());
    REQUIRE((*r)->renew_return_path(cookie).ok());
    CHECK(routing(netns) == made);
    CHECK(redirect::check_return_path(fd.get()).ok());
  }
  auto r = Redirector::attach(host.options());  // its configuration has no original_src any more
  REQUIRE(r.ok());
  REQUIRE((*r)->renew_return_path(cookie).ok());
  CHECK(routing(netns) == before);
  CHECK(!(*r)->workloads()->at(0).return_path);
}

TEST_CASE("return path: released by cookie, with the state file lost, the rules go all the same") {
  if (!can_run()) return;
  Host host;
  std::string netns = host.make_netns("pod");
  auto r = Redirector::attach(with_return_path(host));
  REQUIRE(r.ok());
  auto w = (*r)->enrol(spec_for("pod", netns));
  REQUIRE(w.ok());
  pid_t lives_there = ::fork();
  if (lives_there == 0) {
    ::setns(redirect::open_netns(netns)->release(), CLONE_NEWNET);
    ::pause();
    ::_exit(0);
  }
  Fd fd(*redirect::open_netns(netns));
  uint64_t inode = *redirect::netns_inode(netns);
  CHECK(eventually([&] { return !redirect::find_netns(inode).empty(); }));
  redirect::unbind_netns(host.options().state_dir + "/netns/pod");
  REQUIRE(::unlink((host.options().state_dir + "/workloads/pod.json").c_str()) == 0);
  REQUIRE((*r)->release(std::to_string(w->netns_cookie)).ok());
  CHECK(redirect::check_no_return_path(fd.get()).ok());
  ::kill(lives_there, SIGKILL);
  ::waitpid(lives_there, nullptr, 0);
}

TEST_CASE("return path: uninstall leaves nothing of it") {
  if (!can_run()) return;
  Host host;
  std::string netns = host.make_netns("pod"), other = host.make_netns("other");
  std::string before = routing(netns);
  auto r = Redirector::attach(with_return_path(host));
  REQUIRE(r.ok());
  REQUIRE((*r)->enrol(spec_for("other", other)).ok());
  REQUIRE((*r)->enrol(spec_for("pod", netns)).ok());
  r = Error{"let go"};
  auto report = redirect::uninstall(host.options());
  REQUIRE(report.ok());
  CHECK(report->left.empty());
  CHECK(std::count_if(report->removed.begin(), report->removed.end(),
                      [](const std::string& s) { return s.starts_with("return path of workload "); }) == 2);
  CHECK(routing(netns) == before);
  CHECK(routing(other) == before);
}

TEST_CASE(
    "return path: a kernel or container that denies it is an error with the remedy, and enrols nothing") {
  if (!can_run()) return;
  Host host;
  std::string netns = host.make_netns("pod");
  REQUIRE(std::system(("nsenter --net=" + netns + " ip link set lo down").c_str()) == 0);
  std::string before = routing(netns);
  auto r = Redirector::attach(with_return_path(host));
  REQUIRE(r.ok());
  auto w = (*r)->enrol(spec_for("pod", netns));
  REQUIRE(!w.ok());
  INFO(w.error().message);
  CHECK(has(w.error().message, "original_src needs a way back"));
  CHECK(has(w.error().message, "bring lo up"));
  CHECK((*r)->workloads()->empty());
  CHECK(routing(netns) == before);
  bool said = false;
  for (const auto& item : redirect::check_host(host.options()))
    said |= item.name == "original_src" && item.outcome == redirect::CheckItem::Outcome::ok;
  CHECK(said);
}
