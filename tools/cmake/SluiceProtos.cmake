# sluice_protos: Envoy's v3 API as C++ (a static library with its headers), made by tools/cmake/protos/build.py in the cache and shared from
# there. Use: sluice_library(... LIBS sluice_protos); a program that resolves `Any` by name calls sluice::protos::link_all().
find_program(SLUICE_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT SLUICE_PYTHON)
  find_program(SLUICE_PYTHON NAMES python3 REQUIRED)
endif()
pkg_check_modules(PROTOBUF REQUIRED IMPORTED_TARGET protobuf)

set(SLUICE_PROTOS_BUILD ${CMAKE_CURRENT_LIST_DIR}/protos/build.py)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${SLUICE_PROTOS_BUILD}
  ${CMAKE_CURRENT_LIST_DIR}/protos/roots.txt ${CMAKE_CURRENT_LIST_DIR}/protos/requirements.txt)
set(SLUICE_PROTOS_COMMAND ${SLUICE_PYTHON} ${SLUICE_PROTOS_BUILD} --cache ${SLUICE_CACHE_DIR} --cxx ${CMAKE_CXX_COMPILER})
execute_process(COMMAND ${SLUICE_PROTOS_COMMAND} --print-dir OUTPUT_VARIABLE SLUICE_PROTOS_DIR
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

# The library is not listed as an output: `ninja clean` in one clone must not take it from the others.
get_filename_component(SLUICE_PROTOS_KEY ${SLUICE_PROTOS_DIR} NAME)
set(SLUICE_PROTOS_STAMP ${CMAKE_BINARY_DIR}/${SLUICE_PROTOS_KEY}.stamp)
if(NOT EXISTS ${SLUICE_PROTOS_DIR})
  file(REMOVE ${SLUICE_PROTOS_STAMP})
endif()
add_custom_command(OUTPUT ${SLUICE_PROTOS_STAMP}
  COMMAND ${SLUICE_PROTOS_COMMAND}
  COMMAND ${CMAKE_COMMAND} -E touch ${SLUICE_PROTOS_STAMP}
  COMMENT "Envoy's API as C++" USES_TERMINAL VERBATIM)
add_custom_target(sluice_protos_made DEPENDS ${SLUICE_PROTOS_STAMP})

add_library(sluice_protos INTERFACE)
add_dependencies(sluice_protos sluice_protos_made)
target_include_directories(sluice_protos SYSTEM INTERFACE ${SLUICE_PROTOS_DIR}/include)
target_link_libraries(sluice_protos INTERFACE -L${SLUICE_PROTOS_DIR} -lsluice_protos PkgConfig::PROTOBUF)
# Fields that the API deprecates are honoured all the same: users' files still have them.
target_compile_options(sluice_protos INTERFACE -Wno-deprecated-declarations)
