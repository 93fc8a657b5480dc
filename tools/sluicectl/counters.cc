#include <cstdio>

#include "command.h"
#include "output.h"
#include "redirect/redirector.h"

namespace sluice::ctl {
namespace {

void options(cxxopts::Options& o) {
  o.add_options()("a,all", "those that are zero too");
}

Result<int> run(const Context& context, const cxxopts::ParseResult& args) {
  SLUICE_ASSIGN(auto redirector, redirect::Redirector::open(context.redirect));
  Json object = Json::object();
  Table table({"DECISION", "COUNT"});
  for (const auto& c : redirector->counters()) {
    object.set(c.name, c.value);
    if (c.value || args.count("all")) table.row({c.name, std::to_string(c.value)});
  }
  object.set("bridge.entries", redirector->bridge_entries());
  if (context.json) {
    print_json(object);
    return 0;
  }
  table.row({"bridge.entries (now)", std::to_string(redirector->bridge_entries())});
  table.print();
  return 0;
}

}  // namespace

const Command kCounters = {
    "counters",
    "",
    "how often the BPF programs decided what, since they were installed",
    "One counter a decision: passed (and why), redirected, taken, refused, failed open; bridge.* is the way "
    "of a\n"
    "destination from the connecting to the accepted socket, told.* what applications asked.\n\n"
    "Example:\n  sluicectl counters\n  sluicectl counters -o json | jq '.[\"outbound.refused.no_proxy\"]'",
    options,
    run};

}  // namespace sluice::ctl
