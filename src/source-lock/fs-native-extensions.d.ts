/** The part of fs-native-extensions that is used; the package has no types. */
declare module 'fs-native-extensions' {
  /** An open-file-description lock (OFD) on Linux, without waiting; false if another description holds part of it. */
  export function tryLock(fd: number, offset?: number, length?: number, options?: { shared?: boolean }): boolean;
  export function unlock(fd: number, offset?: number, length?: number): void;
}
