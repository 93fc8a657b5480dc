#include <cstdio>

#include "command.h"
#include "output.h"
#include "redirect/json.h"
#include "redirect/redirector.h"

namespace sluice::ctl {
namespace {

std::string families(bool wanted, bool v4, bool v6) {
  if (!wanted) return "off";
  if (v4 && v6) return "v4+v6";
  return v4 ? "v4" : v6 ? "v6" : "NO PROXY";
}

std::string rules(const redirect::WorkloadSpec& s) {
  std::string out;
  auto add = [&out](const char* what, size_t n) {
    if (n) out += (out.empty() ? "" : ", ") + std::to_string(n) + " " + what;
  };
  add("ports excluded", s.exclude_outbound_ports.size() + s.exclude_inbound_ports.size());
  add("ports included", s.include_outbound_ports.size() + s.include_inbound_ports.size());
  add("CIDRs excluded", s.exclude_cidrs.size());
  add("CIDRs included", s.include_cidrs.size());
  add("uids excluded", s.exclude_uids.size());
  add("probe sources", s.probe_sources.size());
  return out;
}

Result<int> run(const Context& context, const cxxopts::ParseResult&) {
  SLUICE_ASSIGN(auto redirector, redirect::Redirector::open(context.redirect));
  SLUICE_ASSIGN(auto workloads, redirector->workloads());
  if (context.json) {
    Json list = Json::array();
    for (const auto& w : workloads) list.push(redirect::workload_to_json(w));
    print_json(list);
    return 0;
  }
  if (workloads.empty()) {
    std::printf("No workload is enrolled; `sluicectl enrol NAME NETNS` does it.\n");
    return 0;
  }
  Table table(
      {"NAME", "ID", "GENERATION", "NETNS-COOKIE", "OUTBOUND", "INBOUND", "FAIL-MODE", "NETNS", "RULES"});
  for (const auto& w : workloads)
    table.row({w.spec.name.empty() ? "(name lost)" : w.spec.name, std::to_string(w.id),
               std::to_string(w.generation), std::to_string(w.netns_cookie),
               families(w.spec.outbound, w.listening_outbound_v4, w.listening_outbound_v6),
               families(w.spec.inbound, w.listening_inbound_v4, w.listening_inbound_v6),
               to_string(w.spec.fail_mode), or_dash(w.spec.netns_path), or_dash(rules(w.spec))});
  table.print();
  if (auto hooks = redirector->hooks(); hooks.ok() && !hooks->good())
    std::printf("\nwarning: hooks: %s; see `sluicectl check`\n", hooks->text.c_str());
  return 0;
}

}  // namespace

const Command kWorkloads = {
    "workloads",
    "",
    "what is enrolled, and whether the proxy serves it",
    "Read from the kernel's maps, with or without sluiced. OUTBOUND and INBOUND show the address families "
    "the proxy\n"
    "listens for in that namespace; NO PROXY means that the fail mode is in force.\n\n"
    "Example:\n  sluicectl workloads\n  sluicectl workloads -o json | jq '.[].spec.name'",
    nullptr,
    run};

}  // namespace sluice::ctl
