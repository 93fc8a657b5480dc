// sluicectl: what an operator asks the BPF side (straight from the pins, sluiced running or not) and sluiced.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "command.h"
#include "core/log.h"

namespace sluice::ctl {
namespace {

constexpr const Command* kCommands[] = {&kCheck,     &kEnrol,       &kRelease,  &kWorkloads,
                                        &kRedirects, &kConnections, &kConfig,   &kCounters,
                                        &kWatch,     &kCa,          &kUninstall};

void print_help() {
  std::printf(
      "sluicectl looks at and steers Sluice's interception on this host.\n\n"
      "Usage: sluicectl COMMAND [ARGUMENTS] [OPTIONS]\n\nCommands:\n");
  for (const Command* c : kCommands) std::printf("  %-12s %s\n", c->name, c->summary);
  std::printf(
      "\nWords: a workload is one enrolled network namespace (a pod). A redirect is one remembered original\n"
      "destination. With sluiced dead, new connections of a workload get its fail mode: closed or open.\n\n"
      "A first round:\n"
      "  sluicectl check                                  # can this host do it?\n"
      "  sluicectl enrol shop/cart /run/netns/cart        # put a pod under interception\n"
      "  sluicectl workloads                              # is the proxy serving it?\n"
      "  sluicectl redirects                              # where its connections were really going\n"
      "  sluicectl release shop/cart                      # give it back\n\n"
      "`sluicectl COMMAND --help` has the options and an example. `-o json` works with every command.\n"
      "Exit status: 0 good, 1 a check or proof failed, 2 an error.\n");
}

cxxopts::Options make_options(const Command& c) {
  cxxopts::Options o(std::string("sluicectl ") + c.name, std::string(c.summary) + "\n\n" + c.help + "\n");
  o.custom_help("[OPTIONS]");
  o.positional_help(c.arguments);
  o.set_width(110);
  o.add_options()("h,help", "this text")("o,output", "table or json",
                                         cxxopts::value<std::string>()->default_value("table"), "FORMAT");
  redirect::Options d;
  o.add_options("Places")("bpffs-root", "where the pins are",
                          cxxopts::value<std::string>()->default_value(d.bpffs_root),
                          "DIR")("state-dir", "where workloads are remembered",
                                 cxxopts::value<std::string>()->default_value(d.state_dir),
                                 "DIR")("cgroup", "where the hooks are attached; default: the cgroup v2 root",
                                        cxxopts::value<std::string>()->default_value(""), "DIR")(
      "control-socket", "sluiced's; default: control.sock in the state folder",
      cxxopts::value<std::string>()->default_value(""), "PATH");
  o.add_options("Arguments")("arguments", "", cxxopts::value<std::vector<std::string>>());
  if (c.options) c.options(o);
  o.parse_positional({"arguments"});
  return o;
}

int fail(const Error& e) {
  std::fprintf(stderr, "sluicectl: %s\n", e.message.c_str());
  return 2;
}

int run(const Command& c, int argc, char** argv) {
  cxxopts::Options options = make_options(c);
  cxxopts::ParseResult args;
  try {  // cxxopts speaks in exceptions; they end here
    args = options.parse(argc, argv);
    if (args.count("help")) {
      std::printf("%s", options.help({"", "Identity", "Places"}).c_str());
      return 0;
    }
    Context context;
    context.redirect.bpffs_root = args["bpffs-root"].as<std::string>();
    context.redirect.state_dir = args["state-dir"].as<std::string>();
    context.redirect.cgroup_path = args["cgroup"].as<std::string>();
    context.control_socket = args["control-socket"].as<std::string>();
    if (context.control_socket.empty()) context.control_socket = context.redirect.state_dir + "/control.sock";
    std::string output = args["output"].as<std::string>();
    if (output != "table" && output != "json")
      return fail(Error{"--output: \"" + output + "\" is neither table nor json"});
    context.json = output == "json";
    auto code = c.run(context, args);
    return code.ok() ? *code : fail(code.error());
  } catch (const std::exception& e) {
    return fail(Error{std::string(e.what()) + "; `sluicectl " + c.name + " --help` shows the options"});
  }
}

}  // namespace

Error usage_error(const Command& c, const std::string& what) {
  return Error{what + "\nUsage: sluicectl " + c.name + " " + c.arguments + " [OPTIONS]; `sluicectl " +
               c.name + " --help` has an example"};
}

}  // namespace sluice::ctl

int main(int argc, char** argv) {
  using namespace sluice::ctl;
  (void)sluice::log::init(sluice::log::Level::warn);
  if (argc < 2 || !std::strcmp(argv[1], "--help") || !std::strcmp(argv[1], "-h") ||
      !std::strcmp(argv[1], "help")) {
    print_help();
    return argc < 2 ? 2 : 0;
  }
  for (const Command* c : kCommands)
    if (!std::strcmp(argv[1], c->name)) return run(*c, argc - 1, argv + 1);
  std::fprintf(stderr, "sluicectl: there is no command \"%s\"; `sluicectl --help` lists them\n", argv[1]);
  return 2;
}
