/** What the package lacks: types of the one function that is used. */
declare module 'asciichart' {
  const asciichart: {
    plot(
      values: number[],
      options?: { height?: number; offset?: number; min?: number; max?: number; format?: (value: number) => string },
    ): string;
  };
  export default asciichart;
}
