/**
 * What a program begins with that another Node runs by its text. A compiler may have marked its functions with a helper of its
 * own (`keepNames`), which the text needs too.
 */
export const PROGRAM_HEAD = `const __name = (named) => named;
const after = (ms, callback) => {
  const timer = setTimeout(callback, ms);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
};
`;
