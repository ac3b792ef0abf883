# As much of NixOS as evaluates one module offline: options with their types and defaults, mkIf and mkMerge. An option
# that does not exist, a value of another type and two values for one setting are errors, as they are in NixOS.
{ module, settings }:

let
  inherit (builtins)
    all
    attrNames
    attrValues
    concatLists
    concatMap
    concatStringsSep
    elem
    filter
    fromJSON
    functionArgs
    head
    isAttrs
    isBool
    isInt
    isList
    isString
    length
    listToAttrs
    map
    mapAttrs
    replaceStrings
    toJSON
    zipAttrsWith
    ;

  simple = name: check: {
    apply = path: value: if check value then value else throw "${path} is not ${name}: ${toJSON value}";
  };
  listOf = type: {
    apply = path: value: if isList value then map (type.apply path) value else throw "${path} is not a list";
  };
  nonEmpty = type: {
    apply = path: value: if value == [ ] || value == "" then throw "${path} is empty" else type.apply path value;
  };
  types = rec {
    inherit listOf;
    str = simple "a string" isString;
    nonEmptyStr = nonEmpty str;
    nonEmptyListOf = type: nonEmpty (listOf type);
    bool = simple "a boolean" isBool;
    package = simple "a package" isString;
    path = simple "an absolute path" (value: isString value && builtins.substring 0 1 value == "/");
    enum = values: simple "one of ${toJSON values}" (value: elem value values);
    ints.between = low: high: simple "an integer of ${toJSON [ low high ]}" (value: isInt value && low <= value && value <= high);
    nullOr = type: { apply = path: value: if value == null then null else type.apply path value; };
    attrsOf = type: { apply = path: mapAttrs (name: type.apply "${path}.${name}"); };
    submodule = make: {
      apply =
        path: values:
        let
          config = valuesOf path (make { inherit config; }).options values;
        in
        config;
    };
  };

  isOption = value: value._type or "" == "option";
  valuesOf =
    path: options: values:
    let
      unknown = filter (name: !(options ? ${name})) (attrNames values);
      valueOf =
        name: option:
        if !isOption option then
          valuesOf "${path}.${name}" option (values.${name} or { })
        else
          option.type.apply "${path}.${name}" (values.${name} or (option.default or (throw "${path}.${name} is not set")));
    in
    if unknown != [ ] then throw "there is no option ${path}.${head unknown}" else mapAttrs valueOf options;

  # What is left of a definition once its conditions are decided: none, one or several values.
  decided =
    value:
    if value._type or "" == "if" then
      if value.condition then decided value.content else [ ]
    else if value._type or "" == "merge" then
      concatMap decided value.contents
    else
      [ value ];
  merged =
    path: values:
    if all isAttrs values then
      mapAttrs (name: merged "${path}.${name}") (notEmpty (zipAttrsWith (_: concatMap decided) values))
    else if all isList values then
      concatLists values
    else if length values == 1 then
      head values
    else
      throw "${path} is set twice";
  notEmpty = set: listToAttrs (filter ({ value, ... }: value != [ ]) (attrValues (mapAttrs lib.nameValuePair set)));

  lib = {
    inherit types;
    literalExpression = text: text;
    mkOption =
      option: if isString option.description then option // { _type = "option"; } else throw "an option has no description";
    mkEnableOption = description: {
      _type = "option";
      type = types.bool;
      default = false;
    };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };
    mkMerge = contents: {
      _type = "merge";
      inherit contents;
    };
    nameValuePair = name: value: { inherit name value; };
    mapAttrs' = make: set: listToAttrs (attrValues (mapAttrs make set));
  };

  # By the rules of nixos/lib/utils.nix.
  utils.escapeSystemdExecArgs =
    args: concatStringsSep " " (map (arg: replaceStrings [ "%" "$" ] [ "%%" "$$" ] (toJSON arg)) args);

  pkgs = {
    ffmpeg = "/nix/store/ffmpeg";
    util-linux = "/nix/store/util-linux";
    coreutils = "/nix/store/coreutils";
    formats.json = _: {
      type = simple "an object" isAttrs;
      generate = name: value: "/nix/store/${name}?${toJSON value}";
    };
  };

  made = import module {
    inherit lib pkgs utils;
    config.services.holdfast = valuesOf "services.holdfast" made.options.services.holdfast (fromJSON settings);
  };
in
assert functionArgs (import module) != { };
merged "config" (decided made.config)
