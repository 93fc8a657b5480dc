#include <cstdio>
#include <map>

#include "command.h"
#include "output.h"
#include "redirect/json.h"
#include "redirect/redirector.h"

namespace sluice::ctl {
namespace {

void options(cxxopts::Options& o) {
  o.add_options()("w,workload", "only this one's", cxxopts::value<std::string>(), "NAME");
}

Result<int> run(const Context& context, const cxxopts::ParseResult& args) {
  SLUICE_ASSIGN(auto redirector, redirect::Redirector::open(context.redirect));
  SLUICE_ASSIGN(auto workloads, redirector->workloads());
  SLUICE_ASSIGN(auto redirects, redirector->redirects());
  std::map<uint64_t, std::string> names;
  for (const auto& w : workloads)
    names[w.netns_cookie] = w.spec.name.empty() ? std::to_string(w.netns_cookie) : w.spec.name;
  auto name_of = [&](const redirect::Redirect& r) {
    auto it = names.find(r.original.netns_cookie);
    return it == names.end() ? "(released " + std::to_string(r.original.netns_cookie) + ")" : it->second;
  };
  std::string only = args.count("workload") ? args["workload"].as<std::string>() : "";
  Json list = Json::array();
  Table table({"WORKLOAD", "SIDE", "ORIGINAL-DESTINATION", "LOCAL", "REMOTE", "STATE", "UID", "PID", "RULE"});
  for (const auto& r : redirects) {
    std::string name = name_of(r);
    if (!only.empty() && name != only) continue;
    Json j = redirect::redirect_to_json(r);
    j.set("workload", name);
    list.push(std::move(j));
    auto text = [](const Address& a) { return a.valid() ? a.to_string() : std::string("-"); };
    table.row({name, to_string(r.side),
               text(r.original.address) + (r.original.v4_mapped ? " (v4-mapped)" : ""), text(r.local),
               text(r.remote), or_dash(r.tcp_state), std::to_string(r.original.uid),
               std::to_string(r.original.pid), r.original.rule});
  }
  if (context.json)
    print_json(list);
  else if (table.empty())
    std::printf("No redirected connection is open. %llu handshakes are under way.\n",
                static_cast<unsigned long long>(redirector->bridge_entries()));
  else
    table.print();
  return 0;
}

}  // namespace

const Command kRedirects = {"redirects",
                            "",
                            "the original destinations that the kernel remembers now",
                            "Read from the sockets' own storage, with or without sluiced. A redirected "
                            "connection shows twice: `client` is the\n"
                            "application's socket, `accepted` the proxy's; `handshake` has not been accepted "
                            "yet; `proxy` is a connection of the\n"
                            "proxy to the application under the caller's address.\n\n"
                            "Example:\n  sluicectl redirects -w shop/cart",
                            options,
                            run};

}  // namespace sluice::ctl
