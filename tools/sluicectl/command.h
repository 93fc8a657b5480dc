#pragma once

#include <cxxopts.hpp>
#include <string>

#include "core/result.h"
#include "redirect/types.h"

namespace sluice::ctl {

// What every command is given: where things are, and how to print.
struct Context {
  redirect::Options redirect;
  std::string control_socket;
  bool json = false;
};

// A command adds its options, then runs. `run` returns the exit code: 0 good, 1 a check or proof failed; an Error is
// printed and exits with 2.
struct Command {
  const char* name;
  const char* arguments;  // "NAME NETNS", for the usage line
  const char* summary;  // one line, for `sluicectl --help`
  const char* help;  // what it does and an example, for `sluicectl NAME --help`
  void (*options)(cxxopts::Options&);  // may be null
  Result<int> (*run)(const Context&, const cxxopts::ParseResult&);
};

extern const Command kCheck, kEnrol, kRelease, kWorkloads, kRedirects, kConnections, kConfig, kCounters,
    kWatch, kCa, kUninstall;

// The error for a command that needs more or fewer words than it got.
Error usage_error(const Command& command, const std::string& what);

}  // namespace sluice::ctl
